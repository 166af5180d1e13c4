"""The default engine: whole record batches, byte for byte but for the producer's name in the header."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct, structs

from headwater.contract.errors import Defect, HeadwaterError, Refused
from headwater.transport.kafka_batch import Fetched, Produced, codes
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.routes import FETCH
from headwater.transport.kafka_batch.topic_ids import topic_id
from replicator import underway
from replicator.anchor import Lost, known_cause
from replicator.beginning import first_position
from replicator.engine import Ends, Shipment, Unsettled, Written, missing
from replicator.journal import NOTHING
from replicator.pipeline import Piece, Pipeline
from replicator.position import LAST_ERA, Gap, Mark, Position, thinned
from replicator.sending import Sender
from replicator.way import Way

_DOUBTS = 10  # anchors in a row without one acknowledgement between
_DOUBTFUL = frozenset({codes.OUT_OF_ORDER_SEQUENCE, codes.DUPLICATE_SEQUENCE, codes.UNKNOWN_PRODUCER_ID})
_CORRUPT = 2


class BatchEngine(Sender):
    """Exactly once by the sequence anchor (anchor.py), with several batches under way (pipeline.py).

    A crash between the acknowledgement of a batch and the next stored position leaves a position that is behind: the
    anchor counts on from it.
    """

    name = "batch"

    def __init__(self, way: Way, ends: Ends) -> None:
        super().__init__(way, ends)
        self._acked: Position | None = None
        self._newest: tuple[int, int, int, int] | None = None  # a Mark, of the last batch that is whole at the target
        self._doubts = 0
        self._pipeline: Pipeline | None = None
        self._in_vain = 0
        self._tell: Callable[[], None] | None = None
        self._relearn = False

    def watch(self, tell: Callable[[], None]) -> None:
        """See `Engine`."""
        self._tell = tell

    @property
    def position(self) -> Position | None:
        """What the target has acknowledged."""
        return self._acked

    @property
    def unacknowledged_bytes(self) -> int:
        """Bytes of batches that were sent and never acknowledged, as far as is known."""
        return self._in_vain + (0 if self._pipeline is None else self._pipeline.unacknowledged)

    def checkpoint(self) -> Position | None:
        """Return the position with a mark of the newest batch."""
        if self._acked is not None and self._newest is not None:
            self._acked = structs.replace(self._acked, trail=thinned(self._acked.trail, Mark(*self._newest)))
            self._newest = None
        return self._acked

    async def anchor(self) -> int:
        """Find the exact place, in a new era where records are gone; see the module anchor."""
        ends, way = self._ends, self.way
        self._pid = await ends.journal.producer_id(ends.target)
        source_id = await topic_id(ends.probe, way.topic)
        position: Position = (
            self.checkpoint()
            or ends.journal.position(way.ledger, way.partition)
            or await self._first_contact(source_id)
        )
        purpose = ends.lines.purpose(way)
        found, _, outbox, _, _ = await asyncio.gather(  # each a few round trips, which add up on a long road
            ends.anchor.locate(way, position, self._pid, source_id, underway.marks(self._acked, self._pipeline)),
            self._fitter.refresh(at_once=self._relearn),
            ends.target.reach(way.target, way.partition, purpose),
            ends.target.reach(way.target, way.partition, FETCH),  # on which `locate` may look at the last batch
            ends.journal.look(way),
        )
        if not isinstance(found, Lost):
            position = found
            found = await self._corruption.lost(ends.probe, found.source_next, (found.era, found.count)) or found
            found = found if isinstance(found, Lost) else await self._set_aside(found) or found
        if isinstance(found, Lost):
            found = await self._next_era(position, found, source_id)
        self._relearn = False
        if await ends.target.reach(way.target, way.partition, purpose) is not outbox:
            # A broker that knows nothing of a producer takes any sequence: a disk from earlier would get a hole.
            raise Unsettled(f"{way}: the connection ended while its place was looked for")
        underway.settle(self._acked, self._pipeline, found, partial(ends.on_shipped, way))
        return self._begin(structs.replace(found, source_id=source_id), outbox)

    async def _set_aside(self, position: Position) -> Lost | None:  # noqa: ARG002  # for those who override it
        """What is left to another stream, so that what is new goes first; see fresh/."""
        return None

    def _begin(self, position: Position, outbox: Outbox) -> int:
        """Go on from a position; nothing may be under way."""
        way = self.way
        if self._acked is None or position.count != self._acked.count:
            self._doubts = 0  # records arrived, though nobody said so
        self._acked, self._newest = position, None
        self._era, self._next, self._count = position.era, position.source_next, position.count
        self._in_vain = self.unacknowledged_bytes
        self._pipeline = Pipeline(way, outbox, self._judge, self._tell, self._ends.lines.gate(way))
        return position.source_next

    async def _first_contact(self, source_id: str = "") -> Position:
        return await first_position(self.way, self._ends, source_id)

    async def _next_era(self, position: Position, lost: Lost, source_id: str) -> Position:
        """Store the gap and the new era before its first use."""
        era, now = position.era + 1, self._ends.clock()
        gap = Gap(self.way.ledger, self.way.partition, *known_cause(lost, position, source_id), era, now)
        halts = self._ends.on_gap == "halt"
        await self._ends.account.gap(self.way, gap, halted=halts)
        if halts:
            raise missing(gap)
        if era > LAST_ERA:
            raise Refused(f"{self.way} has had {era} gaps, more than a producer has epochs", hint="use a new site name")
        return await self._begun(gap, source_id)

    async def _begun(self, gap: Gap, source_id: str, also: Mapping[bytes, Struct] = NOTHING) -> Position:
        """Store the position that a new era begins with, with the gap before it."""
        end = (await self._ends.target.offsets(self.way.target, "latest"))[self.way.partition]
        begun = Position(gap.era, gap.resumed_at, gap.resumed_at, 0, end, at=gap.at, source_id=source_id)
        held, self._acked = self._acked, None  # so that nobody stores it behind what is stored here
        try:
            await self._ends.journal.store([(self.way, begun)], [gap], also)
        finally:
            self._acked = held
        self._acked, self._newest, self._doubts = begun, None, 0
        return begun

    async def ship(self, fetched: Fetched) -> None:
        """Send the committed batches; markers and aborted data only move the position. See `Engine`."""
        pipeline = self._pipeline
        if pipeline is None:
            raise Defect(f"{self.way}: shipping before anchoring")
        await self._ship(pipeline, fetched)

    async def settle(self) -> None:
        """See `Engine`."""
        if self._pipeline is not None:
            await self._pipeline.settle()

    def _judge(self, piece: Piece, answer: Produced | HeadwaterError) -> HeadwaterError | None:
        """Take note of what was written, or say why it was not; Unsettled: anchor again."""
        if isinstance(answer, HeadwaterError):
            return answer
        before = self._acked
        if before is None or answer.error or answer.base_offset != before.target_next:
            try:
                self._check(piece, answer)
            except HeadwaterError as error:
                return error
        self._doubts = 0
        acked = self._advance(piece.next, piece.count, answer.base_offset)
        batch, exact = piece.newest, not piece.offsets
        if piece.next > batch.last_offset:
            self._newest = batch.base_offset, batch.last_offset + 1, batch.crc, acked.count
        self._fitter.settled(piece.next)
        written = Written(acked.era, acked.source_next, acked.target_next, piece.stamp, exact, piece.sent)
        self._ends.on_shipped(self.way, Shipment(piece.count, piece.size, batch.max_timestamp, written))
        return None

    def _advance(self, source_next: int, count: int, base_offset: int | None = None) -> Position:
        acked = self._anchored()
        base = acked.target_next if base_offset is None else base_offset
        era, first, trail, now = acked.era, acked.source_first, acked.trail, self._ends.clock()
        self._acked = Position(era, first, source_next, acked.count + count, base + count, trail, now, acked.source_id)
        return self._acked

    def _anchored(self) -> Position:
        if self._acked is None:
            raise Defect(f"{self.way}: shipping before anchoring")
        return self._acked

    def _check(self, piece: Piece, answer: Produced) -> None:
        """Raise unless the batch is where it belongs; Unsettled: anchor again."""
        way, acked = self.way, self._anchored()
        if answer.error == codes.NONE:
            if (acked.count or not acked.era) and answer.base_offset != acked.target_next:
                raise Unsettled(f"{way}: a batch for offset {acked.target_next} is at {answer.base_offset}")
            return
        last = piece.newest.last_offset
        doing = f"writing offsets {acked.source_next} to {last} of {way.topic} to {way}"
        lacking = self._ends.target.denied("Write", way.target)
        failure = codes.failure(answer.error, doing, answer.detail, denied=lacking)
        self._ends.target.note(way.target, answer.error)
        if answer.error == _CORRUPT:
            self._corruption.check(piece.newest, (acked.era, acked.count))
        if answer.error in _DOUBTFUL:
            self._doubts += 1
            if self._doubts > _DOUBTS:
                raise Defect(f"{failure}, {self._doubts} times in a row, although the target was asked each time")
        offsets = piece.offsets or range(piece.newest.base_offset, last + 1)
        if self._fitter.learns(answer, offsets, piece.size):
            self._relearn = True
            raise Unsettled(f"{failure}; it is sent in another shape") from failure
        if answer.error in _DOUBTFUL or codes.retriable(answer.error):
            raise Unsettled(str(failure), hint=failure.hint) from failure
        raise failure
