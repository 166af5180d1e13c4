"""Records that no message is counted by: events of Sparkplug and states of edge nodes. The writer is the bridge's own.

A message is acknowledged only after those that it caused: each has the place of its message in the order of receipt,
and `floor` is the first place of which one is not safe.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.bridge.outlet import Outlet, SectionWriter
from headwater.contract.errors import HeadwaterError
from headwater.contract.headers import Headers
from headwater.transport.kafka_batch.records import header_blocks, key_block, varint
from headwater.transport.kafka_batch.section import Section

_MOST_BYTES = 256 << 10  # of a batch, before the last record

Safe = Callable[[], None]


class _Batch:
    def __init__(self, place: int) -> None:
        self.section = Section()
        self.place = place
        self.safe: list[Safe] = []


class Beside:
    """`put`, then `flush`; `moved` is told whenever something is safe. `outlet` fails with the writer."""

    def __init__(self, writer: SectionWriter, outlet: Outlet, moved: Callable[[], None]) -> None:
        self._writer = writer
        self._outlet = outlet
        self._moved = moved
        self._collected: dict[tuple[str, int], _Batch] = {}
        self._under_way: dict[int, int] = {}  # number of the batch, place
        self._number = 0

    def put(
        self,
        to: tuple[str, int],
        place: int,
        key: bytes,
        value: bytes,
        headers: Headers,
        now_ms: int,
        safe: Safe | None = None,
    ) -> None:
        """Collect a record for a topic and partition; `safe` is called once Kafka has it."""
        batch = self._collected.get(to)
        if batch is not None and batch.section.size + len(value) > _MOST_BYTES:
            self._push(to, batch)
            batch = None
        if batch is None:
            batch = self._collected[to] = _Batch(place)
        batch.place = min(batch.place, place)
        batch.section.add(key_block(key), value, varint(len(headers)) + header_blocks(headers), now_ms)
        if safe is not None:
            batch.safe.append(safe)

    def flush(self) -> None:
        """Let all that was collected begin its way."""
        for to, batch in list(self._collected.items()):
            self._push(to, batch)

    def floor(self, end: int) -> int:
        """The first place of which something is not safe, or `end`."""
        collected = (batch.place for batch in self._collected.values())
        return min((end, *self._under_way.values(), *collected))

    @property
    def is_empty(self) -> bool:
        """Whether all is safe."""
        return not self._under_way and not self._collected

    def _push(self, to: tuple[str, int], batch: _Batch) -> None:
        del self._collected[to]
        self._number += 1
        number, size = self._number, batch.section.size
        self._under_way[number] = batch.place
        self._outlet.held += size

        def done(answer: int | HeadwaterError) -> None:
            if isinstance(answer, HeadwaterError):
                self._outlet.fail(answer)
                return
            del self._under_way[number]
            self._outlet.held -= size
            for each in batch.safe:
                each()
            self._moved()

        self._writer.push(*to, batch.section, done)
