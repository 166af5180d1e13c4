"""What the tests of the MQTT wire share."""

from __future__ import annotations

import asyncio

from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Batch, Subscriber


async def publish(settings: MqttSettings, topic: str, count: int, first: int = 0) -> None:
    """Publish numbers; returns when the broker has acknowledged all."""
    async with Publisher(settings, "publisher-" + topic.replace("/", "-")) as publisher:
        for number in range(first, first + count):
            await publisher.publish(topic, b"%d" % number)
        await publisher.flush()


async def take(source: Subscriber, count: int, within_s: float = 10) -> list[Publish]:
    """The next `count` messages, which come on one connection."""
    found: list[Publish] = []
    async with asyncio.timeout(within_s):
        while len(found) < count:
            batch = await source.read()
            found += batch.messages
    return found


async def connection(source: Subscriber, within_s: float = 10) -> Batch:
    """The beginning of the next connection."""
    async with asyncio.timeout(within_s):
        batch = await source.read()
    assert not batch.messages
    return batch


def numbers(messages: list[Publish]) -> list[int]:
    """What `publish` put in."""
    return [int(message[3]) for message in messages]
