"""The default engine: whole record batches, byte for byte but for the producer's name in the header."""

from __future__ import annotations

from msgspec import structs

from headwater.contract.errors import Defect, Refused
from headwater.transport.kafka_batch import Batch, Fetched, Out, Produced, codes, encode, records, restamp
from headwater.transport.kafka_batch.reading import judged
from replicator.anchor import Lost
from replicator.engine import Ends, Shipment, Unsettled, missing, refuse_corrupt
from replicator.numbering import sequence
from replicator.position import FIRST_ERA, LAST_ERA, Gap, Mark, Position, thinned
from replicator.way import Way

_DOUBTS = 10  # anchors in a row without one acknowledgement between
_DOUBTFUL = frozenset({codes.OUT_OF_ORDER_SEQUENCE, codes.DUPLICATE_SEQUENCE, codes.UNKNOWN_PRODUCER_ID})
_CORRUPT = 2
_WRITTEN = ("none", "lz4", "zstd")


class BatchEngine:
    """Exactly once by the sequence anchor (anchor.py); one batch under way at a time.

    A crash between the acknowledgement of a batch and the next stored position leaves a position that is behind: the
    anchor counts on from it.
    """

    name = "batch"

    def __init__(self, way: Way, ends: Ends) -> None:
        self.way = way
        self._ends = ends
        self._pid = -1
        self._position: Position | None = None
        self._newest: Mark | None = None
        self._doubts = 0

    @property
    def position(self) -> Position | None:
        """What the target has acknowledged."""
        return self._position

    def checkpoint(self) -> Position | None:
        """Return the position with a mark of the newest batch."""
        if self._position is not None and self._newest is not None:
            self._position = structs.replace(self._position, trail=thinned(self._position.trail, self._newest))
            self._newest = None
        return self._position

    async def anchor(self) -> int:
        """Find the exact place, in a new era where records are gone; see the module anchor."""
        ends, way = self._ends, self.way
        self._pid = await ends.journal.producer_id(ends.target)
        position = self.checkpoint() or ends.journal.position(way.topic, way.partition) or await self._first_contact()
        found = await ends.anchor.locate(way, position, self._pid)
        self._position = await self._next_era(position, found) if isinstance(found, Lost) else found
        self._newest = None
        return self._position.source_next

    async def _first_contact(self) -> Position:
        way = self.way
        end = (await self._ends.target.offsets(way.target, "latest"))[way.partition]
        if end:
            raise Refused(
                f"{way} has records up to offset {end - 1}, but no position is stored for it",
                hint="the positions topic was deleted, or somebody else made the topic; ship to a new site name",
            )
        first = (await self._ends.probe.offsets(way.topic, "earliest"))[way.partition]
        position = Position(FIRST_ERA, first, first, 0, 0, at=self._ends.clock())
        await self._ends.journal.store([(way, position)])
        return position

    async def _next_era(self, position: Position, lost: Lost) -> Position:
        """Store the gap and the new era before its first use."""
        era, now = position.era + 1, self._ends.clock()
        gap = Gap(self.way.topic, self.way.partition, *lost, era, now)
        self._ends.on_gap_found(gap)
        if self._ends.on_gap == "halt":
            raise missing(gap)
        if era > LAST_ERA:
            raise Refused(f"{self.way} has had {era} gaps, more than a producer has epochs", hint="use a new site name")
        end = (await self._ends.target.offsets(self.way.target, "latest"))[self.way.partition]
        begun = Position(era, lost.resumed_at, lost.resumed_at, 0, end, at=now)
        await self._ends.journal.store([(self.way, begun)], [gap])
        return begun

    async def ship(self, fetched: Fetched) -> None:
        """Write the committed batches one after the other; markers and aborted data only move the position."""
        for batch, is_data in judged(fetched):
            position = self._position
            if position is None:
                raise Defect(f"{self.way}: shipping before anchoring")
            if batch.last_offset < position.source_next:
                continue
            if is_data:
                await self._write(position, batch)
            else:
                self._position = structs.replace(position, source_next=batch.last_offset + 1)

    async def _write(self, position: Position, batch: Batch) -> None:
        data, count = self._restamped(position, batch)
        if count:
            answers = await self._ends.target.produce([(self.way.target, self.way.partition, data)])
            self._check(position, batch, answers[0])
            self._doubts = 0
        now, following = self._ends.clock(), batch.last_offset + 1
        base = answers[0].base_offset if count else position.target_next
        self._position = structs.replace(
            position, source_next=following, count=position.count + count, target_next=base + count, at=now
        )
        self._newest = Mark(batch.base_offset, following, batch.crc, position.count + count)
        self._ends.on_shipped(self.way, Shipment(count, len(data), batch.max_timestamp))

    def _restamped(self, position: Position, batch: Batch) -> tuple[bytearray, int]:
        """The batch as the target takes it, and its record count.

        One that was shipped in part, was thinned by compaction, or counts by append time is built anew.
        """
        number = sequence(position.count)
        whole = batch.base_offset >= position.source_next and batch.last_offset - batch.base_offset + 1 == batch.count
        if whole and not batch.is_append_time:
            return restamp(batch, producer_id=self._pid, epoch=position.era, sequence=number), batch.count
        refuse_corrupt(self.way, batch)
        outs = [
            Out(each.key, each.value, each.headers, each.timestamp_ms)
            for each in records(batch)
            if each.offset >= position.source_next
        ]
        if not outs:
            return bytearray(), 0
        codec = batch.codec if batch.codec in _WRITTEN else "zstd"
        data = encode(outs, codec=codec, producer_id=self._pid, epoch=position.era, sequence=number)
        return data, len(outs)

    def _check(self, position: Position, batch: Batch, answer: Produced) -> None:
        """Raise unless the batch is where it belongs; Unsettled: anchor again."""
        way = self.way
        if answer.error == codes.NONE:
            if (position.count or not position.era) and answer.base_offset != position.target_next:
                raise Unsettled(f"{way}: a batch for offset {position.target_next} is at {answer.base_offset}")
            return
        doing = f"writing offsets {batch.base_offset} to {batch.last_offset} of {way.topic} to {way}"
        failure = codes.failure(answer.error, doing, answer.detail)
        if answer.error == _CORRUPT:
            refuse_corrupt(way, batch)
        if answer.error in _DOUBTFUL:
            self._doubts += 1
            if self._doubts > _DOUBTS:
                raise Defect(f"{failure}, {self._doubts} times in a row, although the target was asked each time")
        if answer.error in _DOUBTFUL or codes.retriable(answer.error):
            raise Unsettled(str(failure), hint=failure.hint) from failure
        raise failure
