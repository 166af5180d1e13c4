"""The engine for compacted sources: record by record, since compaction changes what a count of batches would find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import structs

from headwater.contract import headers
from headwater.contract.errors import Defect, Refused
from headwater.transport.kafka_batch import Batch, Fetched, Out, Record, Writer, records
from headwater.transport.kafka_batch.reading import judged
from replicator import logs
from replicator.engine import Ends, Shipment, missing, refuse_corrupt
from replicator.position import DIVERGED, FIRST_ERA, Gap, Position
from replicator.way import Way


class RecordEngine:
    """Exactly once by the fenced writer: each record carries its source offset in a header, and the last one tells.

    Of a source log that was made anew, only one that is shorter than the position is noticed; all of it is shipped
    then, which for a compacted topic is the state it stands for. `count` and `trail` of the position are not used.
    """

    name = "record"

    def __init__(self, way: Way, ends: Ends, writer: Callable[[], Awaitable[Writer]]) -> None:
        self.way = way
        self._ends = ends
        self._open_writer = writer
        self._writer: Writer | None = None
        self._position: Position | None = None

    @property
    def position(self) -> Position | None:
        """What the target has acknowledged."""
        return self._position

    def checkpoint(self) -> Position | None:
        """Return the position; compaction leaves no batch by which a log could be known again."""
        return self._position

    async def anchor(self) -> int:
        """Fence the former life at the first call; go on behind the newest source offset found at the target."""
        way = self.way
        first, end = await logs.bounds(self._ends.probe, way.topic, way.partition)
        if self._writer is None:
            self._writer = await self._open_writer()
            stored = self._ends.journal.position(way.topic, way.partition)
            self._position = self._found(stored or Position(FIRST_ERA, first, first, 0, 0), self._writer)
        position = self._position
        if position is None:
            raise Defect(f"{way}: a writer without a position")
        if position.source_next > end:
            position = await self._made_anew(position, first)
        self._position = position
        return max(position.source_next, first)

    def _found(self, position: Position, writer: Writer) -> Position:
        tail = writer.tails[self.way.target, self.way.partition]
        if not tail or tail[-1].offset < position.target_next:
            return position
        source_offset = headers.find_number(tail[-1].headers, headers.SOURCE_OFFSET)
        if source_offset is None:
            raise Refused(
                f"{self.way} offset {tail[-1].offset}: no header {headers.SOURCE_OFFSET}: somebody else writes to it",
                hint="a topic <site>.<topic> belongs to one replicator; end the other writer, or use a new site name",
            )
        return structs.replace(
            position, source_next=max(position.source_next, source_offset + 1), target_next=tail[-1].offset + 1
        )

    async def _made_anew(self, position: Position, first: int) -> Position:
        way, now, era = self.way, self._ends.clock(), position.era + 1
        gap = Gap(way.topic, way.partition, DIVERGED, first, position.source_next, first, era, now)
        self._ends.on_gap_found(gap)
        if self._ends.on_gap == "halt":
            raise missing(gap)
        begun = Position(era, first, first, 0, position.target_next, at=now)
        await self._ends.journal.store([(way, begun)], [gap])
        return begun

    async def ship(self, fetched: Fetched) -> None:
        """Write the committed records, each with its source offset in one more header."""
        for batch, is_data in judged(fetched):
            position = self._position
            if position is None or self._writer is None:
                raise Defect(f"{self.way}: shipping before anchoring")
            if batch.last_offset < position.source_next:
                continue
            if is_data:
                position = await self._write(self._writer, position, batch)
            self._position = structs.replace(position, source_next=batch.last_offset + 1)

    async def settle(self) -> None:
        """Do nothing: `ship` waits for the target."""

    def watch(self, tell: Callable[[], None]) -> None:
        """Do nothing: nothing is under way when `ship` has returned."""

    async def _write(self, writer: Writer, position: Position, batch: Batch) -> Position:
        refuse_corrupt(self.way, batch)
        outs = [_out(each) for each in records(batch) if each.offset >= position.source_next]
        if not outs:
            return position
        base = await writer.write(self.way.target, self.way.partition, outs)
        self._ends.on_shipped(self.way, Shipment(len(outs), len(batch.raw), batch.max_timestamp))
        return structs.replace(position, target_next=base + len(outs), at=self._ends.clock())


def _out(record: Record) -> Out:
    added = (headers.SOURCE_OFFSET, headers.number(record.offset))
    return Out(record.key, record.value, (*record.headers, added), record.timestamp_ms)
