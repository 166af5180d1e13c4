"""What waits in the spool leaves in batches that are worth a link's while."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from edge_agent.bridge.counts import Counts
from edge_agent.bridge.settings import BridgeSettings
from edge_agent.bridge.spooled_drain import Drainer
from edge_agent.bridge.spooled_rows import More, pack
from edge_agent.bridge.spooled_tails import Done
from headwater.contract import topics
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section
from headwater.transport.mqtt.packets import QOS_1
from headwater.transport.spool import Spool

BATCH_BYTES = 64 << 10
WAITING = 6000


class Kafka:
    """Answers a turn later; the sizes of the batches of each partition."""

    def __init__(self) -> None:
        self.sizes: defaultdict[int, list[int]] = defaultdict(list)
        self.records = 0

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        assert topic == topics.READINGS
        self.sizes[partition].append(section.size)
        self.records += section.count
        asyncio.get_running_loop().call_soon(done, 0)


async def test_a_backlog_leaves_in_large_batches_and_the_rest_at_once(tmp_path: Path) -> None:
    """While more waits, a partition's batch is pushed when it is full; at the end nothing is held back."""
    spool, counts, kafka = Spool.open(tmp_path, most_bytes=64 << 20), Counts(), Kafka()
    for first in range(0, WAITING, 500):
        messages = [(QOS_1, b"lyon/pump/p%d" % (n % 8), b"\0\1", b"x" * 300, ()) for n in range(first, first + 500)]
        spool.append([pack(each, 1, n, b"me@1", More()) for n, each in enumerate(messages, start=first)])
    await spool.commit()
    counts.received = counts.waiting = WAITING
    drainer = Drainer(spool, counts, BridgeSettings(batch_bytes=BATCH_BYTES), "lyon")
    drainer.begin(kafka, {topics.READINGS: 2, topics.DEAD_LETTERS: 1}, Done())

    running = asyncio.create_task(drainer.run())
    async with asyncio.timeout(10):
        while counts.written < WAITING:  # noqa: ASYNC110 - turns of the loop are what it takes
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await spool.close()

    assert kafka.records == WAITING
    for sizes in kafka.sizes.values():
        assert sum(size >= 0.9 * BATCH_BYTES for size in sizes) >= 0.8 * (len(sizes) - 1), sizes
        assert sum(sizes) / len(sizes) > BATCH_BYTES / 2
