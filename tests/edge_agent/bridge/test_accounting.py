"""Every message is somewhere, and the counts say where, at every turn of the event loop."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_agent.bridge.counts import Counts
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.settings import BridgeSettings, SpoolSettings
from edge_agent.bridge.spooled_drain import Drainer
from edge_agent.bridge.spooled_intake import Intake
from edge_agent.bridge.spooled_tails import Done
from edge_agent.bridge.telling import Spooled, unaccounted
from headwater.contract import topics
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section
from headwater.transport.mqtt.packets import DUP, QOS_1, Publish
from headwater.transport.mqtt.source import Batch
from headwater.transport.spool import Spool

MOST_BYTES = 256 << 10
SEED = 20261121
ROUTES = [
    RouteSettings.model_validate({"match": "{site}/cells/{asset}", "asset_class": "cell", "decoder": {"kind": "json"}}),
    RouteSettings(),
]


class Source:
    """An MQTT broker that sends what it is given."""

    def __init__(self) -> None:
        self.batches: deque[Batch] = deque([Batch(1, False, [])])
        self.paused = False
        self.acknowledged = 0
        self._news = asyncio.Event()

    def give(self, epoch: int, messages: list[Publish]) -> None:
        self.batches.append(Batch(epoch, True, messages))
        self._news.set()

    async def read(self) -> Batch:
        while not self.batches:
            self._news.clear()
            await self._news.wait()
        return self.batches.popleft()

    def relay(self, take: Callable[[Batch], None]) -> None:
        pass

    def acknowledge(self, count: int, epoch: int) -> None:
        self.acknowledged += count * (epoch > 0)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Kafka:
    """Takes batches at once, or holds them while it is `away`."""

    def __init__(self) -> None:
        self.away = True
        self.held: list[Callable[[int | HeadwaterError], None]] = []

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        del topic, partition, section
        self.held.append(done)
        if not self.away:
            asyncio.get_running_loop().call_soon(self.land)

    def land(self) -> None:
        while self.held:
            self.held.pop(0)(0)


def messages(chance: random.Random, first: int, count: int) -> list[Publish]:
    """Plain ones, ones at QoS 0, ones that are filtered, ones that no route fits."""
    kinds = [
        lambda n: (QOS_1, b"lyon/pump/p%d" % (n % 5), n.to_bytes(2, "big"), b"x" * 1000, ()),
        lambda n: (QOS_1 & ~6, b"lyon/pump/p%d" % (n % 5), b"", b"y" * 1000, ()),
        lambda n: (QOS_1, b"lyon/cells/c1", n.to_bytes(2, "big"), b"[]", ()),
        lambda n: (QOS_1, b"lyon/nowhere", n.to_bytes(2, "big"), b"z" * 300, ()),
    ]
    return [chance.choices(kinds, (6, 3, 1, 1))[0](n) for n in range(first, first + count)]


@pytest.mark.parametrize("policy", ["stop", "drop-oldest", "drop-qos0"])
async def test_every_message_is_accounted_for_under_each_policy(policy: str, tmp_path: Path) -> None:
    """Kafka is away until the spool is full and beyond; then all is settled as the policy says, and nothing is gone."""
    chance = random.Random(SEED)
    counts, source, kafka = Counts(), Source(), Kafka()
    spool = Spool.open(tmp_path, most_bytes=MOST_BYTES, segment_bytes=16 << 10)
    drainer = Drainer(spool, counts, BridgeSettings(routes=tuple(ROUTES)), "lyon")
    drainer.begin(kafka, {topics.READINGS: 4, topics.DEAD_LETTERS: 4}, Done())
    settings = SpoolSettings.model_construct(bytes=MOST_BYTES, full=policy)
    intake = Intake(source, spool, Recogniser("me", 1, 100), drainer, counts, settings, 100)
    life = Spooled(spool, MOST_BYTES, drainer, counts)
    life.intake = intake
    tasks = [asyncio.create_task(intake.run()), asyncio.create_task(drainer.run())]

    async def until(condition: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + 20
        while not condition():
            assert asyncio.get_running_loop().time() < end, counts
            assert (unaccounted(life), counts.balanced) == (0, True), counts
            await asyncio.sleep(0)

    sent = 0
    for turn in range(15):
        if turn == 3:  # what has left the spool by now is held in memory, and is not dropped
            tasks.pop().cancel()
        source.give(1, messages(chance, sent + 1, 40))
        sent += 40
        await until(lambda: not source.batches or source.paused)
    if policy == "drop-oldest":
        await until(lambda: counts.dropped > 0)
    else:
        await until(lambda: source.paused)
        assert counts.waiting > 0
    kafka.away = False
    kafka.land()
    tasks.append(asyncio.create_task(drainer.run()))
    await until(lambda: counts.received == sent and counts.waiting == 0)
    again = (QOS_1 | DUP, b"lyon/pump/again", b"\xff\xff", b"x", ())
    source.give(1, [(QOS_1, *again[1:])])
    source.give(2, [again])
    await until(lambda: counts.received == sent + 2 and counts.waiting == 0)

    assert counts.recognised == 1
    assert counts.filtered > 0
    assert counts.dead_lettered > 0
    assert counts.written > 0
    assert (counts.dropped == 0) == (policy == "stop")
    assert sum(route.received for route in life.records.tally.counts().values()) + counts.dropped == sent + 1
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await spool.close()


async def test_a_full_spool_is_one_story(tmp_path: Path) -> None:
    """While it drains and fills again at once, nothing is said; its end is, when a quarter is free."""
    counts, source, kafka = Counts(), Source(), Kafka()
    spool = Spool.open(tmp_path, most_bytes=MOST_BYTES, segment_bytes=16 << 10)
    drainer = Drainer(spool, counts, BridgeSettings(), "lyon")
    drainer.begin(kafka, {topics.READINGS: 1, topics.DEAD_LETTERS: 1}, Done())
    settings = SpoolSettings.model_construct(bytes=MOST_BYTES, full="stop")
    intake = Intake(source, spool, Recogniser("me", 1, 100), drainer, counts, settings, 100)

    async def until(condition: Callable[[], bool]) -> None:
        end = asyncio.get_running_loop().time() + 20
        while not condition():
            assert asyncio.get_running_loop().time() < end, counts
            await asyncio.sleep(0)

    with capture_logs() as lines:
        tasks = [asyncio.create_task(intake.run())]
        for first in range(1, 2000, 40):
            numbers = (n.to_bytes(2, "big") for n in range(first, first + 40))
            source.give(1, [(QOS_1, b"lyon/pump/p1", number, b"x" * 1000, ()) for number in numbers])
        await until(lambda: source.paused)
        kafka.away = False
        tasks.append(asyncio.create_task(drainer.run()))
        await until(lambda: counts.written == 2000)
        await until(lambda: any("again" in line["event"] for line in lines))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await spool.close()

    said = [line["event"] for line in lines if "spool" in line["event"]]
    assert said[:2] == ["the spool is full", "the spool takes messages again"]
    assert len(said) < 20  # there are a hundred segments


async def test_a_message_that_is_gone_is_seen(tmp_path: Path) -> None:
    """The check can fail: what is counted as waiting and is nowhere makes it."""
    spool = Spool.open(tmp_path, most_bytes=MOST_BYTES, segment_bytes=16 << 10)
    counts = Counts()
    drainer = Drainer(spool, counts, BridgeSettings(), "lyon")
    drainer.begin(Kafka(), {topics.READINGS: 1, topics.DEAD_LETTERS: 1}, Done())
    life = Spooled(spool, MOST_BYTES, drainer, counts)

    counts.received = counts.waiting = 3
    assert (counts.balanced, unaccounted(life)) == (True, 3)
    await spool.close()
