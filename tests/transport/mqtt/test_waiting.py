"""What waits for a reader that is busy with something else is bounded in bytes."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Batch, Subscriber
from headwater.transport.mqtt.waiting import MOST_WAITING_BYTES, Waiting
from tests.transport.mqtt.scripted import PINGRESP, Peer, ScriptedBroker, publish

MB = 1 << 20
MESSAGES = 48


def numbered(at: int) -> bytes:
    return b"%04d" % at + bytes(MB)


async def script(peer: Peer) -> None:
    """Send all at once, and answer what has to be answered."""
    await peer.welcome()
    flood = asyncio.create_task(pour(peer))
    while True:
        if (await peer.packet())[0] == 0xC0:
            peer.send(PINGRESP)
        if flood.done():
            await flood


async def pour(peer: Peer) -> None:
    for at in range(MESSAGES):
        peer.send(publish(b"a/b", numbered(at), at + 1))
        await peer.sent()


class Watched(Subscriber):
    """Counts what came in; `many` is set when it is more than may wait."""

    count = 0

    def received(self, messages: list[Publish]) -> None:
        self.count += len(messages)
        super().received(messages)
        if self.count * MB >= MOST_WAITING_BYTES:
            self.many.set()

    def __init__(self, settings: MqttSettings) -> None:
        super().__init__(settings, "x", ["a/#"])
        self.many = asyncio.Event()


@pytest.mark.parametrize("reader", ["bulk", "stock"])
async def test_a_reader_that_waits_for_something_else_holds_few_bytes(reader: Literal["bulk", "stock"]) -> None:
    """No message more is read above the bound; then all come, in their order, on the same connection."""
    async with ScriptedBroker(script) as broker, asyncio.timeout(30):
        source = Watched(MqttSettings(port=broker.port, reader=reader))
        taken: list[bytes] = []
        async with source:
            while len(taken) < MESSAGES:
                batch = await source.read()
                taken += [message[3][:4] for message in batch.messages]
                if 0 < len(taken) < 3:  # a registry is away, or a disk is full
                    await source.many.wait()
                    await asyncio.sleep(0.5)
                assert (source.count - len(taken)) * MB < MOST_WAITING_BYTES + 2 * MB
            assert taken == [b"%04d" % at for at in range(MESSAGES)]
            assert source.epoch == 1


async def test_who_takes_at_once_is_not_stopped() -> None:
    """What waited is read, and the rest is relayed: nothing stays paused because of what was held before."""
    async with ScriptedBroker(script) as broker, asyncio.timeout(30):
        source = Watched(MqttSettings(port=broker.port))
        taken: list[bytes] = []
        async with source:
            await source.many.wait()
            done = asyncio.Event()

            def take(batch: Batch) -> None:
                taken.extend(message[3][:4] for message in batch.messages)
                if len(taken) == MESSAGES:
                    done.set()

            async def read() -> None:
                while True:
                    take(await source.read())
                    source.relay(take)

            reading = asyncio.create_task(read())
            await done.wait()
            reading.cancel()
            assert taken == [b"%04d" % at for at in range(MESSAGES)]


def test_what_was_taken_last_counts_until_it_is_dealt_with() -> None:
    """Topics, payloads and properties count; there is room again at half of the bound."""
    waiting: Waiting[int] = Waiting(100)
    message: Publish = (0x30, b"topic", b"", bytes(45), (("name", b"of six"),))

    waiting.put(1, [message])
    assert not waiting.is_full
    waiting.put(2, [message])
    assert waiting.is_full

    assert waiting.take() == 1
    assert waiting.is_full
    assert not waiting.done()  # 60 bytes are left
    assert waiting.take() == 2
    assert waiting.done()
    assert not waiting.is_full
    assert not waiting
