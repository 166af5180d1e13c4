"""Each message is in Kafka once, whatever is killed or cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Producer

from edge_agent.bridge.live import ask
from headwater.contract import topics
from tests.edge_agent.box import Edge, wait_for
from tests.edge_agent.bridge.load import NOTHING_WRONG, Fate, Load, fate
from tests.proxy import Proxy
from tests.services import Broker, Mqtt

SEED = 20261121
BLIND = "from edge_agent.bridge.recogniser import Recogniser; Recogniser.find = lambda *_: None"
ACK_DELAY_S = 0.03  # so that at each kill some dozens are written and not yet acknowledged


@pytest.fixture
async def road(edge: Edge, mosquitto: Mqtt) -> AsyncIterator[Proxy]:
    """A relay between bridge and MQTT broker that is as slow as a plant's network."""
    async with Proxy((mosquitto.host, mosquitto.port)) as proxy:
        proxy.delay_s = ACK_DELAY_S
        edge.environment["HEADWATER_EDGE__MQTT__PORT"] = str(proxy.port)
        yield proxy


async def kill_often(edge: Edge, road: Proxy, broker: Mqtt, kills: int) -> Fate:
    """SIGKILL the bridge under load, every other time while it is starting; what the far end counts.

    The others take what is on the road with them: acknowledgements that the dead process had sent.
    """
    chance = random.Random(SEED)
    await asyncio.to_thread(edge.start)  # from here on the broker keeps a session
    async with Load(edge.site, broker) as load:
        for kill in range(kills):
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            if not kill % 2:
                road.cut()
            edge.bridge.kill()
            if kill % 2:
                edge.bridge.start()
                await asyncio.sleep(chance.uniform(0.2, 1.0))
                edge.bridge.kill()
            await asyncio.to_thread(edge.start)
        sent = await load.finish()
    await edge.until_records(sent)
    assert edge.bridge.stop() == 0
    return fate(await edge.records(), sent)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_kills_lose_and_repeat_nothing(edge: Edge, road: Proxy, mosquitto: Mqtt, protocol: str) -> None:
    """SIGKILLs at random instants: no message is lost, written twice, or out of its asset's order."""
    edge.environment["HEADWATER_EDGE__MQTT__PROTOCOL"] = protocol

    assert await kill_often(edge, road, mosquitto, 4 if protocol == "5" else 2) == NOTHING_WRONG

    assert '"balanced": true' in edge.bridge.log()


async def test_without_recognition_kills_repeat_messages(edge: Edge, road: Proxy, mosquitto: Mqtt) -> None:
    """The guard: the same kills with recognition taken away write messages twice, and the count sees it."""
    edge.bridge.before = BLIND

    lost, duplicated, _ = await kill_often(edge, road, mosquitto, 2)

    assert lost == 0
    assert duplicated > 0


async def test_cuts_lose_and_repeat_nothing(edge: Edge, road: Proxy, mosquitto: Mqtt) -> None:
    """The connection is cut while messages are on their way to Kafka and acknowledgements on theirs to MQTT."""
    chance = random.Random(SEED)
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        for _ in range(5):
            await asyncio.sleep(chance.uniform(0.2, 0.5))
            before = road.connections
            road.cut()
            await asyncio.to_thread(wait_for, lambda: road.connections > before, edge.bridge.log)  # noqa: B023  called now
        sent = await load.finish()

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert edge.bridge.stop() == 0
    assert edge.bridge.log().count("mqtt connection lost") >= 5


async def test_kafka_may_be_killed(private_edge: Edge, private_kafka: Broker, mosquitto: Mqtt) -> None:
    """While Kafka is away nothing is acknowledged, MQTT stays connected, and afterwards all is there once.

    The outage is told while it lasts, and its end is.
    """
    edge, state = private_edge, private_edge.ready_file.parent
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(300)
        await asyncio.to_thread(private_kafka.kill)
        await asyncio.to_thread(wait_for, lambda: ask(state).standstill_s and ask(state).last_error, edge.bridge.log)
        assert "Kafka has taken nothing for" in ask(state).standing
        assert not ask(state).last_error_is_over
        await asyncio.to_thread(private_kafka.start)
        await asyncio.to_thread(wait_for, lambda: ask(state).last_error_is_over, edge.bridge.log, 60)
        await edge.until_records(1200)
        sent = await load.finish()

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert edge.bridge.stop() == 0
    assert "mqtt connection lost" not in edge.bridge.log()
    assert "kafka takes messages again" in edge.bridge.log()


async def test_the_mqtt_broker_may_be_restarted(edge: Edge, private_mosquitto: Mqtt) -> None:
    """A broker that goes away and comes back with its sessions loses and repeats nothing here."""
    edge.environment["HEADWATER_EDGE__MQTT__PORT"] = str(private_mosquitto.port)
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, private_mosquitto) as load:
        await edge.until_records(300)
        sent = await load.finish()
    await asyncio.to_thread(private_mosquitto.stop)
    await asyncio.to_thread(private_mosquitto.start)
    async with Load(edge.site, private_mosquitto, first=sent) as load:
        await edge.until_records(sent + 300)
        sent = await load.finish()

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    assert edge.bridge.stop() == 0
    assert edge.bridge.log().count("mqtt connection lost") == 1


async def test_what_lies_behind_records_of_others_is_found(private_edge: Edge, mosquitto: Mqtt) -> None:
    """Others fill every partition while the bridge is dead: what it had written is recognised all the same."""
    edge = private_edge
    edge.environment["HEADWATER_EDGE__MQTT__RECEIVE_MAXIMUM"] = "60"
    async with Proxy((mosquitto.host, mosquitto.port)) as road:
        road.delay_s = ACK_DELAY_S
        edge.environment["HEADWATER_EDGE__MQTT__PORT"] = str(road.port)
        await asyncio.to_thread(edge.start)
        async with Load(edge.site, mosquitto) as load:
            await asyncio.sleep(0.5)
            road.cut()
            edge.bridge.kill()
            others = Producer({"bootstrap.servers": edge.kafka.brokers, "log_level": 0})
            for number in range(4 * 500):
                others.produce(topics.READINGS, b"another's", b"key", partition=number % 4)
            assert others.flush(20) == 0
            await asyncio.to_thread(edge.start)
            sent = await load.finish()
        await edge.until_records(sent)
        assert edge.bridge.stop() == 0
    assert fate(await edge.records(), sent) == NOTHING_WRONG
    assert '"recognised": 0' not in edge.bridge.log().splitlines()[-1]
