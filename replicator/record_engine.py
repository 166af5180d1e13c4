"""The engine for compacted topics and for rules: record by record, since what is left out changes every count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec import structs

from headwater.contract import headers
from headwater.contract.errors import Defect, Fenced, Permanent, Refused
from headwater.transport.kafka_batch import Batch, Fetched, Out, Produced, Record, SetBack, Writer, codes
from headwater.transport.kafka_batch.reading import judged
from headwater.transport.kafka_batch.topic_ids import topic_id
from replicator import logs
from replicator.anchor import Lost
from replicator.corruption import Corruption
from replicator.engine import Ends, Shipment, Unsettled, missing
from replicator.fitting import Fitter, Piece
from replicator.limits import NO_LIMIT
from replicator.position import FIRST_ERA, RECREATED, RETENTION, TRUNCATED, Gap, Position
from replicator.records.chain import Chain
from replicator.records.choosing import PLAIN, RULED
from replicator.records.lasting import lasting
from replicator.records.ruling import Ruling
from replicator.way import Way

_log = structlog.get_logger(__name__)


_MERGED_BYTES = 256 << 10  # of one write, as long as its records are at hand


class RecordEngine:
    """Exactly once by the fenced writer: each record carries its source offset in a header, and the last one tells.

    Of a source log that was made anew (its topic has another id, or it is shorter than the position) all is shipped,
    which for a compacted topic is the state it stands for. `count` and `trail` of the position are not used.
    `chain`: the rules of the topic, if it has some or had some; what they leave out moves the position too.
    """

    def __init__(
        self, way: Way, ends: Ends, writer: Callable[[], Awaitable[Writer]], chain: Chain | None = None
    ) -> None:
        self.way = way
        self.name = RULED if chain is not None and chain.names else PLAIN
        self._ruling = None if chain is None else Ruling(way, chain, ends.probe, ends.journal, ends.account)
        self._ends = ends
        self._open_writer = writer
        self._writer: Writer | None = None
        self._position: Position | None = None
        self._fitter = Fitter(way, ends.account.limits(way), ends.clock, dress=_with_offset, codec="lz4")
        ends.lines.governor.sizing.watch(self._fitter.pace)
        self._gate = ends.lines.gate(way)
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
        await ends.journal.look(way)
        self._writer = self._writer and await lasting(self._writer, way)
        if self._writer is None:
            stored = self._position or ends.journal.position(way.topic, way.partition)
            if stored is None:
                first, _ = await logs.bounds(ends.probe, way.topic, way.partition)
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
        lost = await self._lost(position, source_id)
        if lost is not None:
            position = await self._next_era(position, lost, source_id)
        await self._fitter.refresh()
        position = structs.replace(position, source_id=source_id)
        self._position = position if self._ruling is None else await self._ruling.begin(position)
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
        if not tail:  # retention may have deleted all of it; a log that ends before the position has lost something
            end = writer.markers[self.way.target, self.way.partition]
            return position if end >= position.target_next else self._rewound(position, position.source_first, end)
        end = tail[-1].offset + 1
        if end == position.target_next:
            return position
        source_offset = headers.find_number(tail[-1].headers, headers.SOURCE_OFFSET)
        if source_offset is None and end < position.target_next:  # copied by another program before this one
            nothing_yet = position.source_next == position.source_first
            return position if nothing_yet else self._rewound(position, position.source_first, end)
        if source_offset is None:
            raise Refused(
                f"{self.way} offset {tail[-1].offset}: no header {headers.SOURCE_OFFSET}: somebody else writes to it",
                hint="a topic <site>.<topic> belongs to one replicator; end the other writer, or use a new site name",
            )
        following = source_offset + 1
        if end > position.target_next:
            return structs.replace(position, source_next=max(position.source_next, following), target_next=end)
        known = position.source_first <= following <= position.source_next  # else it is of the era before
        return self._rewound(position, following if known else position.source_first, end)

    def _rewound(self, position: Position, source_next: int, end: int) -> Position:
        """What the target had acknowledged and has no more is shipped again."""
        _log.warning("the target lost acknowledged records", way=str(self.way), kept=end, had=position.target_next)
        return structs.replace(position, source_next=source_next, target_next=end)

    async def _lost(self, position: Position, source_id: str) -> Lost | None:
        """What the source lacks. It is asked for its bounds now: another life may have shipped until it was fenced."""
        first, end = await logs.bounds(self._ends.probe, self.way.topic, self.way.partition)
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
        if position.ruled is not None:  # without digest: they begin anew
            begun = structs.replace(begun, ruled=structs.replace(position.ruled, digest=""))
        await self._ends.journal.store([(way, begun)], [gap])
        return begun

    async def ship(self, fetched: Fetched) -> None:
        """Write the committed records, each with its source offset in one more header, those of many batches at once.

        One write is under way at a time, so a write a batch would let a long road carry a few records a second.
        """
        held = _Held(self._anchored().source_next)
        try:
            for batch, is_data in (found := judged(fetched)):
                at, place = held.next, (self._anchored().era, held.next)
                last = batch is found[-1].batch
                if batch.last_offset < at or self._corruption.is_left(batch, at, place, last=last):
                    continue
                if is_data:
                    pieces, replaced = self._fitter.fit(batch, self._left(batch, at, place))
                    await self._ends.account.replaced(self.way, place[0], replaced)
                    for piece in pieces:
                        if held.size and held.size + len(piece.batch.raw) > self._most:
                            await self._write(held)
                        held.add(piece)
                else:
                    self._corruption.check(batch, place)
                held.next = batch.last_offset + 1
        except asyncio.CancelledError:
            held.drop(self._anchored().source_next)
            raise
        finally:
            await self._write(held)
            if held.next > self._anchored().source_next:
                self._position = structs.replace(self._anchored(), source_next=held.next)
            if self._ruling is not None:
                self._position = self._ruling.settled(self._anchored())
            self._fitter.settled(held.next)

    def _left(self, batch: Batch, at: int, place: object) -> list[Record]:
        """What is to be shipped of a batch from an offset on."""
        if self._ruling is None:
            return [each for each in self._corruption.records(batch, place) if each.offset >= at]
        read = self._ruling.read if at <= batch.base_offset else self._ruling.read_whole
        found = [each for each in self._corruption.records(batch, place, read) if each.offset >= at]
        return self._ruling.apply(found, batch.last_offset + 1)

    @property
    def _most(self) -> int:
        if self._fitter.heeds:
            return 0
        return min(_MERGED_BYTES, self._ends.account.limits(self.way).now.batch_bytes, self._fitter.road_bytes)

    def _anchored(self) -> Position:
        if self._position is None:
            raise Defect(f"{self.way}: shipping before anchoring")
        return self._position

    async def settle(self) -> None:
        """Do nothing: `ship` waits for the target."""

    def watch(self, tell: Callable[[], None]) -> None:
        """Do nothing: nothing is under way when `ship` has returned."""

    async def _write(self, held: _Held) -> None:
        if not held.outs:
            return
        position, writer = self._anchored(), self._writer
        if writer is None:
            raise Defect(f"{self.way}: writing before anchoring")
        outs, offsets, size, following = held.taken()
        reached, held.next = held.next, position.source_next  # unless it is written, nothing was passed
        try:
            base = await self._in_turn(size, writer, outs)
        except Permanent as error:
            code = codes.code_of(error)
            refusal = Produced(self.way.target, self.way.partition, code, -1, str(error))
            if isinstance(error, Fenced):
                raise
            # A writer that was refused something writes no more; the next one finds what this one wrote.
            self._writer = None
            await writer.close()
            if isinstance(error, SetBack):
                raise Unsettled(f"{error}; its tail is read again") from error
            if not self._fitter.learns(refusal, offsets, size):
                raise
            await self._fitter.refresh(at_once=True)
            raise Unsettled(f"{error}; it is sent in another shape", hint=error.hint) from error
        held.next = reached
        newest_ms = max(out.timestamp_ms for out in outs)
        self._ends.on_shipped(self.way, Shipment(len(outs), size, newest_ms))
        self._position = structs.replace(
            position, source_next=following, target_next=base + len(outs), at=self._ends.clock()
        )

    async def _in_turn(self, size: int, writer: Writer, outs: list[Out]) -> int:
        """Write when the lane's turn, its hours and its budget allow it."""
        gate, well = self._gate, False
        while not gate.takes(size):
            await gate.turn(size)
        gate.posted(size)
        try:
            base = await writer.write(self.way.target, self.way.partition, outs, most_bytes=NO_LIMIT)
            well = True
        finally:
            gate.answered(well=well)
        return base


class _Held:
    """Pieces that are not written yet. `next` is the source offset behind all that was looked at, or is held."""

    def __init__(self, at: int) -> None:
        self.next = at
        self.outs: list[Out] = []
        self.size = 0  # bytes as the pieces would leave one by one
        self._offsets: list[int] = []

    def add(self, piece: Piece) -> None:
        """Hold one more."""
        self.outs += piece.outs
        self._offsets += piece.offsets
        self.size += len(piece.batch.raw)
        self.next = piece.next

    def drop(self, at: int) -> None:
        """Hold nothing, and be back at the source offset `at`."""
        self.taken()
        self.next = at

    def taken(self) -> tuple[list[Out], list[int], int, int]:
        """Records, their source offsets, bytes, and the source offset behind them; nothing is held then."""
        found = (self.outs, self._offsets, self.size, self.next)
        self.outs, self._offsets, self.size = [], [], 0
        return found


def _with_offset(record: Record, out: Out) -> Out:
    """A record with its source offset; what stands for one has it anyway."""
    return out._replace(headers=(*out.headers, (headers.SOURCE_OFFSET, headers.number(record.offset))))
