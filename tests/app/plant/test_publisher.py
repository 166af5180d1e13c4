"""What is counted as published is what a subscriber gets."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
import time
from collections.abc import Iterator

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from headwater.app.plant.publisher import Feed, Machine, Row
from headwater.app.plant.simulator import Plant
from headwater.contract.errors import Defect, HeadwaterError
from headwater.transport.mqtt.settings import MqttSettings
from tests.services import Mqtt

START_MS = 1_763_718_300_000


def ended(feed: Feed) -> None:
    """Wait for the thread to end by itself; raises what ended it."""
    deadline = time.monotonic() + 20
    while not feed.done and time.monotonic() < deadline:
        time.sleep(0.01)
    feed.check()


def settings(broker: Mqtt) -> MqttSettings:
    return MqttSettings(host=broker.host, port=broker.port)


class Subscriber:
    """Counts and digests by topic."""

    def __init__(self, broker: Mqtt, topic: str) -> None:
        self.got: dict[str, list[bytes]] = {}
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, m: self.got.setdefault(m.topic, []).append(m.payload)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect(broker.host, broker.port)
        self._client.subscribe(topic, qos=1)
        self._client.loop_start()
        assert self._ready.wait(10)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while sum(map(len, self.got.values())) < count and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_every_counted_reading_arrives_in_order(mosquitto: Mqtt, unique: str) -> None:
    """Count and SHA-256 over the payloads of each machine are those of a subscriber, and the pace is kept."""
    plant = Plant(1, [unique], 3, START_MS)
    machines = {Machine(s, "pump", a): itertools.islice(plant.readings(s, a), 100) for s, a in plant.assets}
    subscriber = Subscriber(mosquitto, f"{unique}/#")
    feed = Feed(settings(mosquitto), machines, speed=200.0)
    started = time.monotonic()
    feed.start()
    deadline = time.monotonic() + 30
    while not feed.done and time.monotonic() < deadline:
        time.sleep(0.01)
    feed.stop()
    assert time.monotonic() - started > 0.45
    subscriber.wait_for(300)
    subscriber.close()
    published = feed.published()
    assert {machine.topic: counted for machine, counted in published.items()} == {
        topic: (100, hashlib.sha256(b"".join(payloads)).hexdigest()) for topic, payloads in subscriber.got.items()
    }
    assert len(published) == 3
    assert feed.now_ms == START_MS + 99_000
    assert feed.published_at(START_MS) is not None


def test_a_feed_can_be_held_and_stopped(mosquitto: Mqtt, unique: str) -> None:
    """It pauses before the tick that is named, goes on when told, and stops after an acknowledged tick."""
    plant = Plant(1, [unique], 1, START_MS)
    feed = Feed(settings(mosquitto), {Machine(unique, "pump", "pump-1"): plant.readings(unique, "pump-1")}, speed=500.0)
    feed.hold_at(20)
    feed.start()
    deadline = time.monotonic() + 20
    while feed.tick < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)  # long enough for 50 ticks more, had it not been held
    assert feed.tick == 20
    feed.hold_at(None)
    while feed.tick < 40 and time.monotonic() < deadline:
        time.sleep(0.01)
    feed.stop()
    assert next(iter(feed.published().values()))[0] == feed.tick >= 40


def test_a_feed_that_dies_of_a_defect_says_so(mosquitto: Mqtt, unique: str) -> None:
    """Neither a silent end nor a traceback of a thread: what ended it, and when, is raised to whoever looks."""

    def rows() -> Iterator[Row]:
        yield from ((START_MS + i, {"flow": 1.0}) for i in range(7))
        raise ZeroDivisionError("a pump of no size")

    feed = Feed(settings(mosquitto), {Machine(unique, "pump", "pump-1"): rows()}, speed=500.0)
    feed.check()
    feed.start()
    with pytest.raises(Defect, match="ZeroDivisionError: a pump of no size, after 7 readings"):
        ended(feed)
    with pytest.raises(Defect, match="a pump of no size"):
        feed.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the silence is the point
def test_a_feed_that_ends_without_a_reason_is_a_defect(mosquitto: Mqtt, unique: str) -> None:
    """Whatever ends the thread before its rows and acknowledgements have: it is not taken for their end."""

    def rows() -> Iterator[Row]:
        yield START_MS, {"flow": 1.0}
        raise SystemExit  # which ends a thread in silence

    feed = Feed(settings(mosquitto), {Machine(unique, "pump", "pump-1"): rows()}, speed=500.0)
    feed.start()
    with pytest.raises(Defect, match="ended without a reason, after 1 readings"):
        ended(feed)


def test_a_broker_that_refuses_ends_the_feed(unique: str) -> None:
    """What ends the thread is raised to whoever looks after it, not lost."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x03\x00\x87\x00")  # CONNACK: not authorised (MQTT 5, 3.2.2.2)
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        plant = Plant(1, [unique], 1, START_MS)
        rows = {Machine(unique, "pump", "pump-1"): plant.readings(unique, "pump-1")}
        feed = Feed(MqttSettings(port=port), rows, speed=5000.0)
        feed.start()
        with pytest.raises(HeadwaterError):
            await asyncio.to_thread(ended, feed)
        server.close()
        await server.wait_closed()

    asyncio.run(run())
