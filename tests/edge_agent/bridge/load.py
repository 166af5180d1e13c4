"""Numbered messages, and what became of them at the far end."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

from headwater.transport.kafka_batch.records import Record
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from tests.services import Mqtt

ASSETS = 7
_BURST = 20


class Fate(NamedTuple):
    """Counts of messages; order is that of each asset."""

    lost: int
    duplicated: int
    reordered: int


NOTHING_WRONG = Fate(0, 0, 0)


def fate(records: list[Record], sent: int) -> Fate:
    """What became of the messages numbered from 0 to `sent` - 1."""
    numbers = [int(record.value or b"-1") for record in records]
    counts = Counter(numbers)
    by_asset = defaultdict(list)
    for record, number in zip(records, numbers, strict=True):
        by_asset[record.key].append(number)
    reordered = sum(b <= a for each in by_asset.values() for a, b in pairwise(each))
    return Fate(sent - len(counts), sum(counts.values()) - len(counts), reordered)


class Load:
    """`async with Load(...)` publishes in the background; `finish` ends it."""

    def __init__(self, site: str, broker: Mqtt, *, rate: float = 1000.0, first: int = 0) -> None:
        self._site = site
        self._settings = MqttSettings(host=broker.host, port=broker.port)
        self._rate = rate
        self.sent = first
        self._stopping = False

    async def __aenter__(self) -> Load:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def finish(self) -> int:
        """Stop; how many messages the broker has acknowledged."""
        self._stopping = True
        await self._task
        assert self.sent > 100
        return self.sent

    async def _run(self) -> None:
        async with Publisher(self._settings, f"load-{self._site}") as publisher:
            while not self._stopping:
                await self._burst(publisher)
                await asyncio.sleep(_BURST / self._rate)
            await publisher.flush()

    async def _burst(self, publisher: Publisher) -> None:
        for _ in range(_BURST):
            await publisher.publish(f"{self._site}/pump/p{self.sent % ASSETS}", b"%d" % self.sent)
            self.sent += 1
