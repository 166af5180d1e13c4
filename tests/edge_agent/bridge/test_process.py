"""The bridge as a process: what it takes in, refuses, waits for, and leaves behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time

from headwater.contract import headers, topics
from headwater.contract.partitioning import partition_of
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.edge_agent.box import Edge, free_port, wait_for
from tests.edge_agent.bridge.load import NOTHING_WRONG, Load, fate
from tests.services import Mqtt


async def publish(edge: Edge, broker: Mqtt, *messages: tuple[str, bytes]) -> None:
    async with Publisher(MqttSettings(port=broker.port), f"pub-{edge.site}") as publisher:
        for topic, payload in messages:
            await publisher.publish(topic, payload)
        await publisher.flush()


async def test_a_record_carries_where_it_came_from(edge: Edge, mosquitto: Mqtt) -> None:
    """Key, partition, headers and time are as documented, and the payload is byte for byte what was published."""
    payload = bytes(range(256))
    await asyncio.to_thread(edge.start)
    before_ms = time.time() * 1000

    await publish(edge, mosquitto, (f"{edge.site}/pump/p-7", payload), (f"{edge.site}/pump/p-7", b""))

    first, second = await edge.until_records(2)
    assert (first.key, first.value, second.value) == (b"p-7", payload, b"")
    assert before_ms - 1 <= first.timestamp_ms <= time.time() * 1000
    assert headers.find_number(first.headers, headers.RECEIVED_AT) == first.timestamp_ms
    assert headers.find_text(first.headers, headers.MQTT_TOPIC) == f"{edge.site}/pump/p-7"
    assert headers.find_text(first.headers, headers.CLASS) == "pump"
    assert headers.find_number(second.headers, headers.SEQUENCE) == 2
    session = headers.find_text(first.headers, headers.SESSION) or ""
    assert session.startswith(f"headwater-bridge-{edge.site}@")
    async with Cluster(edge.kafka, client_id="test") as cluster:
        tail = await read_tail(cluster, topics.READINGS, partition_of(b"p-7", 4), 1000)
    assert first in tail


async def test_what_names_no_asset_is_kept_with_a_reason(edge: Edge, mosquitto: Mqtt) -> None:
    """Topics without an asset, bad names and giant payloads go to dead-letters; the stream goes on."""
    giant = b"x" * (800 << 10)
    await asyncio.to_thread(edge.start)

    bad = [
        f"{edge.site}",
        f"{edge.site}/pump",
        f"{edge.site}/pump/p1/flow",
        f"{edge.site}/pump/P 1",
        f"{edge.site}//p1",
    ]
    await publish(edge, mosquitto, *[(topic, b"%d" % n) for n, topic in enumerate(bad)])
    await publish(edge, mosquitto, (f"{edge.site}/pump/p1", giant), (f"{edge.site}/pump/p1", b"good"))

    letters = await edge.until_records(6, topics.DEAD_LETTERS)
    assert [record.value for record in await edge.until_records(1)] == [b"good"]
    reasons = {
        headers.find_text(r.headers, headers.MQTT_TOPIC): headers.find_text(r.headers, headers.REASON) for r in letters
    }
    assert reasons == {
        **dict.fromkeys(bad[:3], "topic-not-routed"),
        **dict.fromkeys(bad[3:], "bad-name"),
        f"{edge.site}/pump/p1": "too-large",
    }
    assert max(len(r.value or b"") for r in letters) == 1024
    assert edge.bridge.stop() == 0
    assert '"dead_lettered": 6' in edge.bridge.log()


async def test_a_stop_finishes_what_is_held_and_keeps_the_session(edge: Edge, mosquitto: Mqtt) -> None:
    """SIGTERM under load ends with 0; what was published while the bridge was away arrives at its next start."""
    await asyncio.to_thread(edge.start)
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(200)
        assert await asyncio.to_thread(edge.bridge.stop) == 0
        assert not edge.ready_file.exists()
        await asyncio.sleep(0.2)
        await asyncio.to_thread(edge.start)
        sent = await load.finish()

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG
    said = [json.loads(line) for line in edge.bridge.log().splitlines()]
    (stopped,) = [line for line in said if line["event"] == "bridge stopped"]
    assert stopped["balanced"]
    assert stopped["waiting"] == 0


async def test_other_sites_are_left_alone(edge: Edge, mosquitto: Mqtt) -> None:
    """Only the subtree of the own site is subscribed to."""
    await asyncio.to_thread(edge.start)

    await publish(edge, mosquitto, ("elsewhere/pump/p1", b"no"), (f"{edge.site}/pump/p1", b"yes"))

    assert [record.value for record in await edge.until_records(1)] == [b"yes"]
    assert edge.bridge.stop() == 0
    assert '"received": 1' in edge.bridge.log()


async def test_services_that_are_away_at_the_start_are_waited_for(edge: Edge) -> None:
    """Without Kafka or MQTT it says what it waits for, and still ends at once when asked."""
    there = edge.environment.copy()
    for setting in ("KAFKA__BROKERS", "MQTT__PORT"):
        away = free_port()
        service = f"127.0.0.1:{away}"
        edge.environment.update({**there, f"HEADWATER_EDGE__{setting}": service if "KAFKA" in setting else str(away)})
        edge.bridge.start()
        wait_for(lambda: service in edge.bridge.log(), edge.bridge.log)  # noqa: B023  called in this turn
        assert edge.bridge.stop() == 0
    assert '"event": "waiting"' in edge.bridge.log()


async def test_a_bridge_of_another_box_shuts_out_the_first(edge: Edge, mosquitto: Mqtt) -> None:
    """Two lives at once: the older one ends with exit status 4 at its next write, and nothing is lost or repeated."""
    await asyncio.to_thread(edge.start)
    old_process, box = edge.bridge._running, edge.folder
    assert old_process is not None
    async with Load(edge.site, mosquitto) as load:
        await edge.until_records(100)
        old_process.send_signal(signal.SIGSTOP)
        edge.folder = box / "another"  # what a replaced box gets: a copy of the state
        shutil.copytree(box / "edge", edge.folder / "edge", ignore=shutil.ignore_patterns("*.sock"))
        edge.environment["HEADWATER_HOME"] = str(edge.folder)
        try:
            await asyncio.to_thread(edge.start)
        finally:
            old_process.send_signal(signal.SIGCONT)
        assert await asyncio.to_thread(old_process.wait, 30) == 4
        sent = await load.finish()

    assert fate(await edge.until_records(sent), sent) == NOTHING_WRONG


def test_a_wrong_setting_is_answered_with_the_nearest_one(edge: Edge) -> None:
    """The process ends with 2 and a sentence, not with a traceback."""
    edge.environment["HEADWATER_EDGE__BRIDGE__GATHER"] = "3"
    edge.bridge.start()

    wait_for(edge.bridge.ended, edge.bridge.log)

    assert edge.bridge.stop() == 2
    assert "GATHER_MS" in edge.bridge.log()
    assert "Traceback" not in edge.bridge.log()
