"""Sensor time, time of receipt and log time stay apart, and a wrong clock is seen and holds nothing up."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import Counter

import pytest

from edge_agent.bridge.live import ask
from headwater.contract import headers, reading, topics
from headwater.contract.clocks import ClockRecord, decode_clock
from headwater.contract.messages import Score
from headwater.contract.messages import decode as decode_message
from headwater.transport.kafka_batch import Record
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.edge_agent.box import Edge, Process, free_port, wait_for
from tests.edge_agent.scorer.models import CHANNELS, desire, make, place
from tests.edge_agent.test_edge import headwater
from tests.services import Broker, Mqtt

FIVE_YEARS_MS = 5 * 365 * 86_400_000
CELLS = {"match": "{site}/cells/{asset}", "asset_class": "cell", "decoder": {"kind": "json", "time": "at"}}
READINGS = 60
PAUSE_S = 0.05


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def publish(edge: Edge, broker: Mqtt) -> None:
    """Readings of three assets; the clock of `hasty` is five years ahead."""
    async with Publisher(MqttSettings(port=broker.port), f"pub-{edge.site}") as publisher:
        for _ in range(READINGS):
            values = dict.fromkeys(CHANNELS, 0.5)
            await publisher.publish(f"{edge.site}/pump/hasty", reading.encode(now_ms() + FIVE_YEARS_MS, values))
            await publisher.publish(f"{edge.site}/pump/right", reading.encode(now_ms(), values))
            late = {"at": now_ms() - 60_000, "values": {"heat": 1.5}}
            await publisher.publish(f"{edge.site}/cells/late", json.dumps(late).encode())
            await publisher.flush()
            await asyncio.sleep(PAUSE_S)


async def everything(edge: Edge, topic: str) -> list[Record]:
    async with Cluster(edge.kafka, client_id="test") as cluster:
        return [r for n in range(await cluster.partitions(topic)) for r in await read_tail(cluster, topic, n, 10_000)]


async def clocks(edge: Edge) -> dict[str, ClockRecord]:
    """The newest record of each asset, once there is one of all."""
    end = time.monotonic() + 20
    while True:
        records = await everything(edge, topics.CLOCKS)
        found = {(record.key or b"").decode(): decode_clock(record.value or b"") for record in records}
        if len(found) >= 3:
            return found
        assert time.monotonic() < end, (found, edge.bridge.log())
        await asyncio.sleep(0.2)


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}


def sensor_ms(record: Record) -> int:
    found = headers.find_number(record.headers, headers.SENSOR_TIME)
    return reading.time_of(record.value or b"") if found is None else found


@pytest.mark.parametrize("ack_after", ["kafka", "spool"])
async def test_a_clock_in_the_future_holds_nothing_up(private_edge: Edge, mosquitto: Mqtt, ack_after: str) -> None:
    """Through bridge and scorer: each record keeps its three times apart, all windows are scored, skews are told."""
    edge, port = private_edge, free_port()
    edge.environment |= {
        "HEADWATER_EDGE__BRIDGE__ROUTES": json.dumps([CELLS, {}]),
        "HEADWATER_EDGE__BRIDGE__ACK_AFTER": ack_after,
        "HEADWATER_EDGE__METRICS_PORT": str(port),
    }
    state = edge.ready_file.parent
    state.mkdir(parents=True)
    desire(state, place(state, *make(1)))
    scorer = Process(edge.folder, edge.environment, "scorer")
    began = now_ms()
    scorer.start()
    try:
        await asyncio.to_thread(edge.start)
        await publish(edge, mosquitto)
        records = await edge.until_records(3 * READINGS)
        told = await clocks(edge)
        await asyncio.to_thread(wait_for, lambda: metrics(port)["headwater_bridge_clocks"] == 3, edge.bridge.log)
        measured, seen = metrics(port), json.loads(await asyncio.to_thread(headwater, edge, "top", "--json"))
        shown = await asyncio.to_thread(headwater, edge, "top")
        scored = await windows(edge)
    finally:
        scorer.kill()

    _check_times(records, began)
    assert told["hasty"].skew_ms == pytest.approx(-FIVE_YEARS_MS, abs=2000)
    assert told["right"].skew_ms == pytest.approx(0, abs=2000)
    assert told["late"].skew_ms == pytest.approx(60_000, abs=2000)
    assert measured["headwater_bridge_clocks_off"] == 2
    assert measured["headwater_bridge_clock_most_ahead_seconds"] == pytest.approx(FIVE_YEARS_MS / 1000, abs=2)
    assert measured["headwater_bridge_clock_most_behind_seconds"] == pytest.approx(60, abs=2)
    assert list(seen["clocks"]["furthest"]) == ["hasty", "late"]
    assert "late 60." in shown
    assert scored["hasty"] == scored["right"] == (READINGS - 8) // 3 + 1


def _check_times(records: list[Record], began: int) -> None:
    assert Counter(record.key for record in records) == dict.fromkeys((b"hasty", b"right", b"late"), READINGS)
    off = {b"hasty": FIVE_YEARS_MS, b"right": 0, b"late": -60_000}
    for record in records:
        received = headers.find_number(record.headers, headers.RECEIVED_AT) or 0
        assert began < received <= record.timestamp_ms <= now_ms()
        assert sensor_ms(record) - off[record.key or b""] == pytest.approx(received, abs=5000)


async def windows(edge: Edge) -> Counter[str]:
    """How many windows of each asset were scored, once all are."""
    end = time.monotonic() + 30
    most = 2 * ((READINGS - 8) // 3 + 1)
    while True:
        found = Counter(decode_message(r.value, Score).asset for r in await everything(edge, topics.SCORES) if r.value)
        if found.total() >= most or time.monotonic() > end:
            return found
        await asyncio.sleep(0.2)


async def test_log_time_is_not_the_time_of_receipt(private_edge: Edge, private_kafka: Broker, mosquitto: Mqtt) -> None:
    """What waited in the spool tells when it came and when it went to the log; the sensor's time is untouched."""
    edge = private_edge
    edge.environment["HEADWATER_EDGE__BRIDGE__ACK_AFTER"] = "spool"
    await asyncio.to_thread(edge.start)
    await asyncio.to_thread(private_kafka.kill)
    async with Publisher(MqttSettings(port=mosquitto.port), f"pub-{edge.site}") as publisher:
        await publisher.publish(f"{edge.site}/pump/p1", reading.encode(5, {"flow": 1.0}))
        await publisher.flush()
    state = edge.ready_file.parent
    await asyncio.to_thread(wait_for, lambda: ask(state).counts["received"] == 1, edge.bridge.log)
    assert await asyncio.to_thread(edge.bridge.stop) == 0
    stopped = now_ms()
    await asyncio.to_thread(private_kafka.start)
    await asyncio.to_thread(edge.start)

    (record,) = await edge.until_records(1)

    assert (headers.find_number(record.headers, headers.RECEIVED_AT) or 0) < stopped < record.timestamp_ms <= now_ms()
    assert sensor_ms(record) == 5
