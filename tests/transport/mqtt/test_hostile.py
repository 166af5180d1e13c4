"""What a broker may do wrong, against the real connection: mutated packets, too much, too large, too silent."""

from __future__ import annotations

import asyncio
import resource
import socket
from itertools import count
from typing import Any

import pytest
import structlog

from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Subscriber
from tests.transport.mqtt.scripted import Peer, ScriptedBroker, publish
from tests.transport.mqtt.test_packets import mutations
from tests.transport.mqtt.wire import take


def impatient(port: int) -> MqttSettings:
    """A shorter keepalive than a user may set, to save time."""
    return MqttSettings(port=port).model_copy(update={"keepalive_s": 3})


class Inbox(Listener):
    def __init__(self) -> None:
        self.messages: list[Publish] = []

    def received(self, messages: list[Publish]) -> None:
        self.messages += messages


@pytest.mark.parametrize("reader", ["bulk", "stock"])
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_mutated_packets_end_a_connection_with_a_reason(protocol: str, reader: str) -> None:
    """Or are packets after all. No exception reaches the event loop, none stalls: each connection is over in time."""
    streams = mutations(10_000 if reader == "bulk" else 1000, 11, v5=protocol == "5")
    chunks = [b"".join(streams[at : at + 20]) for at in range(0, len(streams), 20)]
    defects: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
    place = count()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.send(chunks[next(place)])
        await peer.sent()

    reasons: set[str] = set()
    async with ScriptedBroker(script) as broker, asyncio.timeout(30):
        settings = MqttSettings(port=broker.port, protocol=protocol, reader=reader)  # type: ignore[arg-type]  # literals
        for _ in chunks:
            connection = await Connection.open(settings, "fuzzed", Inbox())
            await connection.subscribe(["a/#"])
            reasons.add(await connection.ended())
    assert not defects
    assert all(reasons)
    if reader == "bulk":
        assert any("no MQTT" in why for why in reasons)


async def test_a_broker_that_talks_nonsense_is_tried_again() -> None:
    """With a reason in the log, and what comes after it arrives."""
    place = count()

    async def script(peer: Peer) -> None:
        await peer.welcome(session_present=True)
        if next(place) < 3:
            peer.send(publish(b"a/b", b"early", 1) + b"\x36\x08\0\1t\0\1\0xy")
        else:
            peer.send(publish(b"a/b", b"late", 2))
        await peer.packet()

    async with ScriptedBroker(script) as broker:
        settings = MqttSettings(port=broker.port)
        with structlog.testing.capture_logs() as logs:
            async with Subscriber(settings, "x", ["a/#"]) as source, asyncio.timeout(10):
                payloads = list[bytes]()
                while payloads[-1:] != [b"late"]:
                    payloads += [message[3] for message in (await source.read()).messages]
    lost = [each["why"] for each in logs if each["event"] == "mqtt connection lost"]
    assert payloads == [b"early"] * 3 + [b"late"]
    assert len(lost) == 3
    assert all("sends no MQTT: a PUBLISH of" in why for why in lost)


async def test_a_topic_alias_that_was_not_agreed_ends_the_connection_with_a_reason() -> None:
    """By default no alias is asked for; the message comes again on the next connection."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.send(publish(b"a/b", b"x", 1, known=b"\x23\0\1"))
        await peer.packet()

    async with ScriptedBroker(script) as broker, asyncio.timeout(10):
        connection = await Connection.open(MqttSettings(port=broker.port), "x", Inbox())
        await connection.subscribe(["a/#"])
        assert await connection.ended() == "sends no MQTT: topic alias 1, where none was agreed"


async def test_sixteen_megabytes_arrive_whole_beyond_the_keepalive() -> None:
    """A message that takes longer than the keepalive is not taken for silence."""
    payload = bytes(range(256)) * (1 << 16)

    async def script(peer: Peer) -> None:
        await peer.welcome()
        data = publish(b"a/b", payload, 1)
        for at in range(8):  # 4 s, without one whole packet in between
            peer.send(data[at << 20 : (at + 1) << 20])
            await asyncio.sleep(0.5)
        peer.send(data[8 << 20 :])
        await peer.expect(0x40)

    async with (
        ScriptedBroker(script) as broker,
        Subscriber(impatient(broker.port), "x", ["a/#"]) as source,
    ):
        [message] = await take(source, 1, within_s=20)
        source.acknowledge(1, source.epoch)
        assert message[3] == payload
        assert broker.connections == 1


async def test_a_packet_above_the_bound_is_refused_before_it_is_read() -> None:
    """The broker was told the bound; one that does not heed it costs the connection, not the memory."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.send(b"\x32\xff\xff\xff\x7f\0\3a/b\0\1\0")
        for _ in range(256):
            peer.send(bytes(1 << 20))
            await peer.sent()

    async with ScriptedBroker(script) as broker, asyncio.timeout(10):
        connection = await Connection.open(MqttSettings(port=broker.port), "x", Inbox())
        await connection.subscribe(["a/#"])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "at most 33554432 were agreed" in await connection.ended()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


def small_socket(connection: Connection) -> None:
    """Let the system hold little of what is sent."""
    sock: Any = connection._paho.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


async def test_a_broker_that_asks_and_never_reads_is_left() -> None:
    """Answers that it does not take are bounded: the connection ends with a reason, in little memory."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.stop_reading()
        flood = b"".join(b"\x62\x02" + (n % 65_535 + 1).to_bytes(2, "big") for n in range(100_000))
        for _ in range(60):
            peer.send(flood)
            await peer.sent()

    async with ScriptedBroker(script) as broker, asyncio.timeout(20):
        connection = await Connection.open(MqttSettings(port=broker.port), "x", Inbox())
        small_socket(connection)
        await connection.subscribe(["a/#"])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "the broker does not read" in await connection.ended()
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10


async def test_a_broker_that_pings_is_left() -> None:
    """PINGREQ is for clients: paho would answer each, without a bound."""

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.send(b"\xc0\0")
        await peer.packet()

    async with ScriptedBroker(script) as broker, asyncio.timeout(10):
        connection = await Connection.open(MqttSettings(port=broker.port), "x", Inbox())
        await connection.subscribe(["a/#"])
        assert "sends no MQTT: a PINGREQ" in await connection.ended()


async def test_answers_that_waited_are_sent_whole_and_in_order() -> None:
    """A broker that reads late gets every PUBCOMP, also those that the full socket has cut."""
    ids = range(1, 20_001)

    async def script(peer: Peer) -> None:
        await peer.welcome()
        peer.stop_reading()
        peer.send(b"".join(b"\x62\x02" + n.to_bytes(2, "big") for n in ids))
        await peer.sent()
        peer.read_again()
        for n in ids:
            assert await peer.expect(0x70) == b"\x70\x02" + n.to_bytes(2, "big")
        peer.close()

    async with ScriptedBroker(script) as broker, asyncio.timeout(30):
        connection = await Connection.open(MqttSettings(port=broker.port), "x", Inbox())
        small_socket(connection)
        await connection.subscribe(["a/#"])
        await waits(connection)
        assert "the broker" in await connection.ended()


async def waits(connection: Connection) -> None:
    """Until something that was sent has found no room."""
    while not connection._paho.want_write():  # noqa: ASYNC110 - turns of the loop are what it takes
        await asyncio.sleep(0)


def numbered(first: int, last: int) -> bytes:
    """Messages `first` to `last`, with packet ids that repeat only after 65,535."""
    return b"".join(publish(b"a/b", b"%d" % n, n % 65_535 + 1) for n in range(first, last))


async def test_a_broker_that_sends_too_far_ahead_is_not_read() -> None:
    """At most receive_maximum and one cut are handed out unacknowledged; over keepalives nothing is lost."""
    pings = count()

    async def script(peer: Peer) -> None:
        await peer.welcome()
        flood = asyncio.create_task(pour(peer))
        acknowledged = 0
        while acknowledged < 30_000:
            packet = await peer.packet()
            if packet[0] == 0xC0:
                next(pings)
                peer.send(b"\xd0\0")
            elif packet[0] == 0x40:
                assert int.from_bytes(packet[2:4], "big") == acknowledged % 65_535 + 1
                acknowledged += 1
        await flood
        await peer.packet()

    async def pour(peer: Peer) -> None:
        for at in range(0, 30_000, 1000):
            peer.send(numbered(at, at + 1000))
            await peer.sent()

    async with ScriptedBroker(script) as broker, asyncio.timeout(30):
        settings = impatient(broker.port).model_copy(update={"receive_maximum": 100})
        async with Subscriber(settings, "x", ["a/#"], gather_s=0.001) as source:
            taken = [int(n) for n in await all_that_comes(source)]
            assert 100 <= len(taken) <= 100 + 512
            await asyncio.sleep(7)  # the connection lives, unread, for more than two keepalives
            assert await all_that_comes(source) == []
            unacknowledged = len(taken)
            while len(taken) < 30_000:
                source.acknowledge(unacknowledged, source.epoch)
                more = [int(message[3]) for message in (await source.read()).messages]
                unacknowledged = len(more)
                assert unacknowledged <= 100 + 512
                taken += more
            source.acknowledge(unacknowledged, source.epoch)
            assert taken == list(range(30_000))
            assert source.epoch == 1
    assert 3 <= next(pings) <= 10


async def test_subscribe_may_be_answered_behind_much_else() -> None:
    """What is open from the connection before comes first, and may take longer than `connect_timeout_s`."""

    async def script(peer: Peer) -> None:
        await peer.expect(0x10)
        peer.send(b"\x20\x03\x01\x00\x00")
        asked = await peer.expect(0x82)
        for at in range(5):
            await asyncio.sleep(0.4)  # a slow road
            peer.send(numbered(at, at + 1))
        peer.send(b"\x90\x04" + asked[2:4] + b"\x00\x01")
        await peer.expect(0x40)
        await peer.packet()

    async with ScriptedBroker(script) as broker, asyncio.timeout(20):
        settings = impatient(broker.port).model_copy(update={"connect_timeout_s": 0.8})
        async with Subscriber(settings, "x", ["a/#"]) as source:
            await source.subscribed.wait()
            assert [int(n) for n in await all_that_comes(source)] == [0, 1, 2, 3, 4]
            assert (source.epoch, broker.connections) == (1, 1)


async def all_that_comes(source: Subscriber) -> list[bytes]:
    """Payloads until nothing more comes for a quarter of a second."""
    found: list[bytes] = []
    while True:
        try:
            async with asyncio.timeout(0.25):
                found += [message[3] for message in (await source.read()).messages]
        except TimeoutError:
            return found
