"""The engine for compacted topics: record by record, since compaction changes what a count of batches would find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import structs

from headwater.contract import headers
from headwater.contract.errors import Defect, Fenced, Permanent, Refused
from headwater.transport.kafka_batch import Fetched, Out, Produced, Record, Writer, codes
from headwater.transport.kafka_batch.reading import judged
from headwater.transport.kafka_batch.topic_ids import topic_id
from replicator import logs
from replicator.anchor import Lost
from replicator.corruption import Corruption
from replicator.engine import Ends, Shipment, Unsettled, missing
from replicator.fitting import Fitter, Piece
from replicator.limits import NO_LIMIT
from replicator.position import FIRST_ERA, RECREATED, RETENTION, TRUNCATED, Gap, Position
from replicator.way import Way


class RecordEngine:
    """Exactly once by the fenced writer: each record carries its source offset in a header, and the last one tells.

    Of a source log that was made anew (its topic has another id, or it is shorter than the position) all is shipped,
    which for a compacted topic is the state it stands for. `count` and `trail` of the position are not used.
    """

    name = "record"

    def __init__(self, way: Way, ends: Ends, writer: Callable[[], Awaitable[Writer]]) -> None:
        self.way = way
        self._ends = ends
        self._open_writer = writer
        self._writer: Writer | None = None
        self._position: Position | None = None
        self._fitter = Fitter(way, ends.account.limits(way), ends.clock, dress=_with_offset, codec="lz4")
        self._corruption = Corruption(way)

    @property
    def position(self) -> Position | None:
        """What the target has acknowledged."""
        return self._position

    def checkpoint(self) -> Position | None:
        """Return the position; compaction leaves no batch by which a log could be known again."""
        return self._position

    async def anchor(self) -> int:
        """Fence the former life at the first call; go on behind the newest source offset found at the target."""
        way, ends = self.way, self._ends
        source_id = await topic_id(ends.probe, way.topic)
        first, end = await logs.bounds(ends.probe, way.topic, way.partition)
        if self._writer is None:
            stored = self._position or ends.journal.position(way.topic, way.partition)
            if stored is None:
                stored = Position(FIRST_ERA, first, first, 0, 0, at=ends.clock(), source_id=source_id)
                await ends.journal.store([(way, stored)])
            found = await self._after_batches(stored, source_id)
            self._writer = await self._open_writer()
            self._position = self._found(stored if isinstance(found, Lost) else found, self._writer)
            if isinstance(found, Lost):
                self._position = await self._next_era(self._position, found, source_id)
        position = self._position
        if position is None:
            raise Defect(f"{way}: a writer without a position")
        lost = await self._lost(position, source_id, first, end)
        if lost is not None:
            position = await self._next_era(position, lost, source_id)
        await self._fitter.refresh()
        self._position = structs.replace(position, source_id=source_id)
        return position.source_next

    async def _after_batches(self, position: Position, source_id: str) -> Position | Lost:
        """Where the batch engine ended, if the last record at the target is its own: the topic was not compacted then.

        What it wrote has no source offsets; record numbers tell, as long as they do.
        """
        way, ends = self.way, self._ends
        bounds = await logs.bounds(ends.target, way.target, way.partition)
        last = await logs.last_batch(ends.target, way.target, way.partition, *bounds)
        pid = await ends.journal.producer_id(ends.target)
        if last is None or last.is_control or last.producer_id != pid:
            return position
        found = await ends.anchor.locate(way, position, pid, source_id)
        if isinstance(found, Position):
            found = structs.replace(found, count=0, trail=())
            await ends.journal.store([(way, found)])
        return found

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

    async def _lost(self, position: Position, source_id: str, first: int, end: int) -> Lost | None:
        at = position.source_next
        if position.source_id and source_id and position.source_id != source_id:
            return Lost(RECREATED, min(first, at), at, first)
        if at > end:
            return Lost(TRUNCATED, first, at, first)
        if at < first:  # compaction leaves the beginning of a log where it is
            return Lost(RETENTION, at, first, first)
        return await self._corruption.lost(self._ends.probe, at, (position.era, at))

    async def _next_era(self, position: Position, lost: Lost, source_id: str) -> Position:
        way, now, era = self.way, self._ends.clock(), position.era + 1
        gap = Gap(way.topic, way.partition, *lost, era, now)
        halts = self._ends.on_gap == "halt"
        await self._ends.account.gap(way, gap, halted=halts)
        if halts:
            raise missing(gap)
        begun = Position(era, lost.resumed_at, lost.resumed_at, 0, position.target_next, at=now, source_id=source_id)
        await self._ends.journal.store([(way, begun)], [gap])
        return begun

    async def ship(self, fetched: Fetched) -> None:
        """Write the committed records, each with its source offset in one more header."""
        for batch, is_data in (found := judged(fetched)):
            position = self._anchored()
            at, place = position.source_next, (position.era, position.source_next)
            last = batch is found[-1].batch
            if batch.last_offset < at or self._corruption.is_left(batch, at, place, last=last):
                continue
            if is_data:
                left = [r for r in self._corruption.records(batch, place) if r.offset >= at]
                pieces, replaced = self._fitter.fit(batch, left)
                await self._ends.account.replaced(self.way, position.era, replaced)
                for piece in pieces:
                    await self._write(piece)
                self._fitter.settled(batch.last_offset + 1)
            else:
                self._corruption.check(batch, place)
            self._position = structs.replace(self._anchored(), source_next=batch.last_offset + 1)

    def _anchored(self) -> Position:
        if self._position is None or self._writer is None:
            raise Defect(f"{self.way}: shipping before anchoring")
        return self._position

    async def settle(self) -> None:
        """Do nothing: `ship` waits for the target."""

    def watch(self, tell: Callable[[], None]) -> None:
        """Do nothing: nothing is under way when `ship` has returned."""

    async def _write(self, piece: Piece) -> None:
        position, writer, size = self._anchored(), self._writer, len(piece.batch.raw)
        if writer is None:
            raise Defect(f"{self.way}: writing before anchoring")
        try:
            base = await writer.write(self.way.target, self.way.partition, piece.outs, most_bytes=NO_LIMIT)
        except Permanent as error:
            code = codes.code_of(error)
            refusal = Produced(self.way.target, self.way.partition, code, -1, str(error))
            if isinstance(error, Fenced) or not self._fitter.learns(refusal, piece.offsets, size):
                raise
            # A writer that was refused something writes no more; the next one finds what this one wrote.
            self._writer = None
            await writer.close()
            await self._fitter.refresh(at_once=True)
            raise Unsettled(f"{error}; it is sent in another shape", hint=error.hint) from error
        count = len(piece.outs)
        self._ends.on_shipped(self.way, Shipment(count, size, piece.batch.max_timestamp))
        self._position = structs.replace(
            position, source_next=piece.next, target_next=base + count, at=self._ends.clock()
        )


def _with_offset(record: Record, out: Out) -> Out:
    """A record with its source offset; what stands for one has it anyway."""
    return out._replace(headers=(*out.headers, (headers.SOURCE_OFFSET, headers.number(record.offset))))
