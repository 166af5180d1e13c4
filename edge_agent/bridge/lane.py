"""Records of one partition on their way: collected while the last batch is under way, written in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.bridge.recogniser import Entry
from headwater.transport.kafka_batch.records import Out, encoded_bytes


class RecordWriter(Protocol):
    """What a lane needs of kafka_batch's Writer."""

    async def write(self, topic: str, partition: int, outs: Sequence[Out]) -> int:
        """Return once all records are safe."""
        ...


class Lane:
    """Holds what is not written yet, without a bound of its own: MQTT's receive maximum is the bound."""

    def __init__(
        self,
        writer: RecordWriter,
        topic: str,
        partition: int,
        *,
        linger_s: float,
        batch_bytes: int,
        written: Callable[[str, list[Entry]], None],
    ) -> None:
        self._writer = writer
        self._topic = topic
        self._partition = partition
        self._linger_s = linger_s
        self._batch_bytes = batch_bytes
        self._written = written
        self._outs: list[Out] = []
        self._entries: list[Entry] = []
        self._bytes = 0
        self._some = asyncio.Event()

    def put(self, out: Out, entry: Entry) -> None:
        """Add a record; `written` is told once Kafka has it."""
        self._outs.append(out)
        self._entries.append(entry)
        self._bytes += encoded_bytes(out)
        self._some.set()

    async def run(self) -> None:
        """Write for ever. Raises what the writer raises; the records are then still held."""
        while True:
            if not self._outs:
                self._some.clear()
                await self._some.wait()
                if self._bytes < self._batch_bytes:
                    await asyncio.sleep(self._linger_s)
            count = self._batch()
            await self._writer.write(self._topic, self._partition, self._outs[:count])
            done = self._entries[:count]
            del self._outs[:count], self._entries[:count]
            self._written(self._topic, done)

    def _batch(self) -> int:
        """How many of the oldest records make up the next batch, at least one."""
        if self._bytes <= self._batch_bytes:
            self._bytes = 0
            return len(self._outs)
        size = count = 0
        for out in self._outs:
            more = encoded_bytes(out)
            if count and size + more > self._batch_bytes:
                break
            size += more
            count += 1
        self._bytes -= size
        return count
