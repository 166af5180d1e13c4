"""Sparkplug B through the bridge: births, data by alias, deaths; kills, gaps, and a primary host."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from headwater.contract import headers, topics
from headwater.contract.topics import sparkplug_topics
from headwater.transport.kafka import ensure_topics
from tests.contract.sparkplug.plant import FAN, PUMP, Sent
from tests.contract.sparkplug.plant import Edge as EdgeNode
from tests.edge_agent.box import Edge
from tests.edge_agent.bridge.sparkplug_plant import Plant, route, said, until
from tests.proxy import Proxy
from tests.services import Mqtt

REBIRTH = b"Node Control/Rebirth"


@pytest.fixture
async def plant(edge: Edge, mosquitto: Mqtt) -> AsyncIterator[Plant]:
    """A site with a Sparkplug route, and an edge node that is connected."""
    ensure_topics(edge.kafka, sparkplug_topics())
    route(edge)
    found = Plant(edge, mosquitto)
    await found.connect()
    yield found
    await found.connection.close()


@pytest.mark.parametrize("qos", [0, 1])
async def test_births_give_names_to_data(edge: Edge, plant: Plant, qos: int) -> None:
    """Data by alias become readings of their asset; births become events, and all messages are accounted for."""
    await asyncio.to_thread(edge.start)

    plant.send(*plant.node.births(), *[plant.node.data(flow=float(n)) for n in range(5)], qos=qos)

    assert await plant.flows(at_least=8) == [3.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    (first, *_) = [record for record in await plant.records() if record.key == PUMP.encode()]
    assert headers.find_text(first.headers, headers.CLASS) == "pump"
    assert headers.find_text(first.headers, headers.MQTT_TOPIC) == f"spBv1.0/{edge.site}/DBIRTH/line-1/{PUMP}"
    events = [json.loads(record.value or b"") for record in await plant.until(3, topics.SPARKPLUG_EVENTS)]
    assert {event["asset"] for event in events if event["kind"] == "birth"} == {"line-1", PUMP, FAN}
    await plant.until(1, topics.SPARKPLUG_STATES)
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    assert plant.commands() == []
    stopped = said(edge, "bridge stopped")
    assert (stopped["balanced"], stopped["received"], stopped["written"], stopped["waiting"]) == (True, 8, 8, 0)


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_killed_bridge_reads_aliases_without_another_birth(edge: Edge, plant: Plant, qos: int) -> None:
    """SIGKILL between births and data and amid data: names are known, nobody is asked, each reading is there once."""
    await asyncio.to_thread(edge.start)
    plant.send(*plant.node.births(), qos=qos)
    await plant.until(1, topics.SPARKPLUG_STATES)
    sent: list[float] = []
    for _ in range(3):
        numbers = [float(len(sent) + n) for n in range(20)]
        plant.send(*[plant.node.data(flow=number) for number in numbers], qos=qos)
        if qos:
            await asyncio.sleep(0.01)  # some are written and not acknowledged, others not written
        else:
            await plant.flows(at_least=len(sent) + 23)
        edge.bridge.kill()
        sent += numbers
        await asyncio.to_thread(edge.start)
    plant.send(plant.node.data(flow=-1.0), qos=qos)

    assert await plant.flows(at_least=len(sent) + 4) == [3.0, *sent, -1.0]
    assert plant.commands() == []
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    assert said(edge, "bridge stopped")["balanced"]


async def test_a_birth_is_asked_for_when_a_message_is_missing(edge: Edge, plant: Plant) -> None:
    """After the wait for it, one request goes to the edge node; what came behind is there, marked, and acknowledged."""
    await asyncio.to_thread(edge.start)
    plant.send(*plant.node.births(), qos=1)
    plant.node.data()  # lost
    plant.send(plant.node.data(flow=7.0), plant.node.data(flow=8.0), qos=1)

    await until(plant.commands, edge)
    (command,) = plant.commands()
    assert command[1] == f"spBv1.0/{edge.site}/NCMD/line-1".encode()
    assert REBIRTH in command[3]
    assert await plant.flows(at_least=5) == [3.0, 7.0, 8.0]
    marked = [r for r in await plant.records() if (headers.find(r.headers, headers.SPARKPLUG) or b"").endswith(b"gap")]
    assert len(marked) == 2
    plant.send(*plant.node.births(), plant.node.data(flow=9.0), qos=1)
    assert (await plant.flows(at_least=9))[-2:] == [3.0, 9.0]
    assert len(plant.commands()) == 1
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    stopped = said(edge, "bridge stopped")
    assert (stopped["balanced"], stopped["waiting"]) == (True, 0)


async def test_a_host_that_is_passive_asks_nobody(edge: Edge, plant: Plant) -> None:
    """Data without a birth go to dead-letters after the wait, and nothing is published."""
    route(edge, role="passive")
    await asyncio.to_thread(edge.start)
    plant.node.births()
    plant.send(plant.node.data(), qos=1)

    (letter,) = await plant.until(1, topics.DEAD_LETTERS)
    assert headers.find_text(letter.headers, headers.REASON) == "not-born"
    assert plant.commands() == []


async def test_a_death_makes_all_devices_stale(edge: Edge, plant: Plant) -> None:
    """The end of an edge node leaves an open interval for each asset, which its next birth closes."""
    await asyncio.to_thread(edge.start)
    plant.send(*plant.node.births(), plant.node.died(), qos=1)

    found = [json.loads(r.value or b"") for r in await plant.until(6, topics.SPARKPLUG_EVENTS)]
    stale = {each["asset"]: each for each in found if each["kind"] == "stale"}
    assert stale.keys() == {"line-1", PUMP, FAN}
    assert {(each["reason"], each["to"]) for each in stale.values()} == {("ndeath", None)}
    plant.node.bdseq = 1
    plant.send(*plant.node.births(), qos=1)
    found = [json.loads(r.value or b"") for r in await plant.until(12, topics.SPARKPLUG_EVENTS)]
    assert {each["asset"] for each in found if each["kind"] == "stale" and each["to"]} == {"line-1", PUMP, FAN}


async def test_a_primary_host_says_whether_it_is_there(edge: Edge, plant: Plant) -> None:
    """STATE is online while the bridge is subscribed, and offline after a kill, by the will, as after a stop."""
    route(edge, role="primary", host_id=edge.site)
    await asyncio.to_thread(edge.start)
    await until(lambda: plant.states() == [True], edge)
    edge.bridge.kill()
    await until(lambda: plant.states() == [True, False], edge)
    stamps = [json.loads(message[3])["timestamp"] for message in plant.heard]
    assert stamps[0] == stamps[1]

    await asyncio.to_thread(edge.start)
    await until(lambda: plant.states()[-1], edge)
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    await until(lambda: not plant.states()[-1], edge)


async def test_what_cannot_be_read_goes_to_dead_letters(edge: Edge, plant: Plant) -> None:
    """Random bytes, deep topics, giants and data of nobody: each has a reason, and the stream goes on."""
    group = f"spBv1.0/{edge.site}"
    hostile = [
        Sent(f"{group}/DDATA/line-1/{PUMP}", b"", 0),
        Sent(f"{group}/DDATA/line-1/{PUMP}", bytes(range(256)), 0),
        Sent(f"{group}/NBIRTH/line-1", b"\xff" * 1000, 0),
        Sent(f"{group}/DBIRTH/line-1/a/b/c", b"x", 0),
        Sent(f"{group}/WHAT/line-1", b"x", 0),
        Sent(f"{group}/NDATA/line-1", b"\x12" + b"\0" * (800 << 10), 0),
    ]
    await asyncio.to_thread(edge.start)
    plant.send(*plant.node.births(), *hostile, plant.node.data(flow=5.0), qos=1)

    letters = await plant.until(len(hostile), topics.DEAD_LETTERS)
    assert sorted(headers.find_text(r.headers, headers.REASON) or "" for r in letters) == [
        *["bad-payload"] * 3,
        *["bad-sequence"],
        *["bad-topic"] * 2,
    ]
    assert max(len(r.value or b"") for r in letters) == 1024
    assert await plant.flows(at_least=4) == [3.0, 5.0]
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    stopped = said(edge, "bridge stopped")
    assert (stopped["balanced"], stopped["dead_lettered"]) == (True, len(hostile))


async def test_messages_beside_the_route_take_the_usual_way(edge: Edge, plant: Plant) -> None:
    """A plain route of the same bridge keeps its bytes, order and count."""
    await asyncio.to_thread(edge.start)
    plant.send(*plant.node.births(), *[Sent(f"{edge.site}/pump/p1", b"%d" % n, 0) for n in range(50)], qos=1)

    assert [record.value for record in await edge.until_records(50)] == [b"%d" % n for n in range(50)]
    assert await plant.flows(at_least=3) == [3.0]


class Story:
    """What an edge node sends at QoS 1: numbered data above all, now and then births and deaths."""

    def __init__(self, node: EdgeNode, seed: int) -> None:
        self.sent: dict[str, list[float]] = {PUMP: [], FAN: []}
        self._node = node
        self._chance = random.Random(seed)
        self._number = 100.0

    def births(self) -> list[Sent]:
        return self._births(self._node.births(), PUMP, FAN)

    def goes_on(self, length: int) -> list[Sent]:
        told: list[Sent] = []
        for _ in range(length):
            device, what = self._chance.choice([PUMP, FAN]), self._chance.random()
            if what < 0.9:
                self._number += 1.0
                self.sent[device].append(self._number)
                told.append(self._node.data(device, flow=self._number))
            elif what < 0.95:
                died = self._node.device_died(device)
                told += self._births([died, self._node.device_born(device)], device)
            else:
                died = self._node.died()
                self._node.bdseq = (self._node.bdseq + 1) % 256
                told += [died, *self.births()]
        return told

    def shuffled(self, messages: list[Sent]) -> list[Sent]:
        """Some of them after their next one."""
        told = list(messages)
        for at in range(len(told) - 1):
            if self._chance.random() < 0.2 and all("/DDATA/" in each.topic for each in told[at : at + 2]):
                told[at : at + 2] = reversed(told[at : at + 2])
        return told

    def _births(self, messages: list[Sent], *devices: str) -> list[Sent]:
        for device in devices:
            self.sent[device].append(3.0)
        return messages


@pytest.mark.parametrize("out_of_order", [False, True])
async def test_kills_and_cuts_lose_and_repeat_nothing(
    edge: Edge, plant: Plant, mosquitto: Mqtt, out_of_order: bool
) -> None:
    """Births, deaths and data at QoS 1 under SIGKILLs and cuts: each reading is there once and by its name.

    They are in order too; but what overtook another just when a life began may be written before it, marked.
    """
    route(edge, reorder_ms=10_000)
    story = Story(plant.node, 20261121)
    chance = random.Random(7)
    async with Proxy((mosquitto.host, mosquitto.port)) as road:
        road.delay_s = 0.03  # so that at each kill much is written and not acknowledged
        edge.environment["HEADWATER_EDGE__MQTT__PORT"] = str(road.port)
        await asyncio.to_thread(edge.start)
        plant.send(*story.births(), qos=1)
        for fault in range(8):
            for _ in range(10):
                messages = story.goes_on(20)
                plant.send(*(story.shuffled(messages) if out_of_order else messages), qos=1)
                await asyncio.sleep(chance.uniform(0.0, 0.05))
            if fault % 3 == 2:
                before = road.connections
                road.cut()
                await until(lambda: road.connections > before, edge)  # noqa: B023  called in this turn
            else:
                edge.bridge.kill()
                await asyncio.to_thread(edge.start)
        total = sum(map(len, story.sent.values()))
        nodes = sum(1 for value in story.sent[PUMP] if value == 3.0)
        found = {device: await plant.flows(device, at_least=total) for device in (PUMP, FAN)}
        assert await asyncio.to_thread(edge.bridge.stop) == 0

    if out_of_order:
        assert {device: Counter(each) for device, each in found.items()} == {
            device: Counter(each) for device, each in story.sent.items()
        }
    else:
        assert found == story.sent
    assert plant.commands() == []
    assert await plant.records(topics.DEAD_LETTERS) == []
    assert said(edge, "bridge stopped")["balanced"]
    assert nodes > 8
