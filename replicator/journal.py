"""The positions topic of a link: read whole at the start, written by one life at a time.

The writer is fenced: a second replicator for the same site shuts the first one out at its next write. So the producer
id is drawn once: a life that read none, and was shut out before it wrote one, never uses what it drew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from headwater.contract.topics import positions
from headwater.transport.kafka_batch import Cluster, Out, Record, Writer, read_compacted
from replicator.position import PRODUCER_KEY, Gap, Identity, Position, decode, encode, gap_key, position_key
from replicator.way import Way


class Journal:
    """Made by `Journal.open`. Writes raise Fenced when another replicator for this site has started."""

    def __init__(self, topic: str, writer: Writer, kept: dict[bytes, Record]) -> None:
        self._topic = topic
        self._writer = writer
        self._kept = kept
        self._pid: int | None = None
        self._drawing = asyncio.Lock()

    @classmethod
    async def open(cls, cluster: Cluster, site: str) -> Journal:
        """Shut out the former life, then read what it stored; the topic must exist."""
        topic = positions(site).name
        writer = await Writer.open(cluster, f"replicator-{site}", {topic: [0]}, tails={topic: 0})
        return cls(topic, writer, await read_compacted(cluster, topic, 0))

    async def producer_id(self, cluster: Cluster) -> int:
        """The link's producer id at the target, drawn and stored at the first call of the first life."""
        async with self._drawing:
            if self._pid is None:
                kept = self._kept.get(PRODUCER_KEY)
                if kept is not None:
                    self._pid = decode(kept.value, Identity, f"{self._topic}, key producer").pid
                else:
                    drawn = await cluster.init_producer_id()
                    await self._write([(PRODUCER_KEY, encode(Identity(pid=drawn.id)))])
                    self._pid = drawn.id
            return self._pid

    def position(self, topic: str, partition: int) -> Position | None:
        """What the former life stored of a partition; BadInput if it is not readable."""
        kept = self._kept.get(position_key(topic, partition))
        return kept and decode(kept.value, Position, f"{self._topic}, key {topic}/{partition}")

    async def store(self, found: Sequence[tuple[Way, Position]], gaps: Sequence[Gap] = ()) -> None:
        """Store positions, and the gaps that they leave behind; returns when they are durable."""
        pairs = [(gap_key(gap), encode(gap)) for gap in gaps]
        pairs += [(position_key(way.topic, way.partition), encode(each)) for way, each in found]
        await self._write(pairs)

    async def keep_name(self) -> None:
        """Repeat the fence; once a day, so that Kafka does not forget whom to shut out (seven days)."""
        await self._writer.refence()

    async def close(self) -> None:
        """End the writer."""
        await self._writer.close()

    async def _write(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        now = int(time.time() * 1000)
        outs = [Out(key, value, (), now) for key, value in pairs]
        if outs:
            await self._writer.write(self._topic, 0, outs)
