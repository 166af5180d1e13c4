"""What a batch goes through on its way out: what was fetched leaves under the link's name, in order.

All of it is done for each batch, some thousand times a second, so nothing is awaited as long as batches go as they are
and there is room, and what there is room for leaves where the answer arrives that made the room.
"""

from __future__ import annotations

from functools import partial

from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch import Batch, Fetched, Record
from headwater.transport.kafka_batch.batches import APPEND_TIME_BIT, HEADER_BYTES, restamped_head
from headwater.transport.kafka_batch.reading import Found
from headwater.transport.kafka_batch.wire import Parts
from replicator.corruption import Corruption
from replicator.engine import Ends
from replicator.fitting import Fitter
from replicator.numbering import sequence
from replicator.packing import merger
from replicator.pipeline import Piece, Pipeline
from replicator.position import FIRST_ERA
from replicator.proof.entry import stamp_with
from replicator.way import Way

_SLOW_BYTES = 64 << 10  # what a link carries in a second or so, where batches are built anew all the time
# Of older records a broker forgets the producer after a while (a day by default), and takes what follows a refused one.
_REMEMBERED_MS = 12 * 3_600_000


class Sender:
    """One partition's; BatchEngine says where it begins, and judges the answers."""

    def __init__(self, way: Way, ends: Ends) -> None:
        self.way = way
        self._ends = ends
        self._pid = -1
        self._era = FIRST_ERA
        self._next = 0  # source offset behind what was sent
        self._count = 0  # records of the era that were sent
        self._found: list[Found] = []  # what is being shipped; those before `_at` are done with
        self._at = 0
        self._limits = ends.account.limits(way)
        self._fitter = Fitter(way, self._limits, ends.clock, codec=ends.lines.recompress)
        ends.lines.governor.sizing.watch(self._pace)
        self._corruption = Corruption(way)
        self._merger = merger(ends.lines.recompress, self._fitter.reworked, partial(ends.account.reworked, way))

    def _pace(self, road_bytes: int) -> None:
        """Heed the road; where it is slow, looking at every record for the proof costs nothing beside it."""
        self._fitter.pace(road_bytes)
        self._keeps_data = self._ends.keeps_data or road_bytes <= _SLOW_BYTES

    def _advance(self, source_next: int, count: int, base_offset: int | None = None) -> object:
        """Move the position on, by so many records at an offset of the target."""
        raise NotImplementedError

    async def _ship(self, pipeline: Pipeline, fetched: Fetched) -> None:
        """See `Engine.ship`."""
        go_on = partial(self._go_on, pipeline)
        try:
            self._found, self._at = self._merger.found(fetched, self._next), 0
            while (batch := self._push(pipeline)) is not None:
                if not pipeline.has_room(len(batch.raw)):
                    await pipeline.more(go_on)
                elif self._passes(batch, self._ends.clock()):
                    await pipeline.room(len(batch.raw))
                else:
                    self._at += 1
                    await self._send_anew(pipeline, batch)
        except HeadwaterError:
            await pipeline.settle()
            raise
        finally:
            self._found = []

    def _push(self, pipeline: Pipeline) -> Batch | None:
        """Send what may leave now, in order; returns the batch that has to wait or to be built anew."""
        found, now = self._found, self._ends.clock()
        while self._at < len(found):
            batch, is_data = found[self._at]
            if batch.base_offset >= self._next or not self._is_done(batch, last=batch is found[-1].batch):
                if not is_data:
                    self._corruption.check(batch, self._place)
                    self._skip(pipeline, batch.last_offset + 1)
                elif pipeline.has_room(size := len(batch.raw)) and self._passes(batch, now) and pipeline.in_turn(size):
                    self._send(pipeline, batch, self._whole(batch, size))
                else:
                    return batch
            self._at += 1
        return None

    def _go_on(self, pipeline: Pipeline) -> bool:
        """Send on where an answer arrives; whether the next one is all that is waited for."""
        batch = self._push(pipeline)
        return batch is not None and not pipeline.has_room(len(batch.raw))

    @property
    def _place(self) -> tuple[int, int]:
        return self._era, self._count

    def _is_done(self, batch: Batch, *, last: bool) -> bool:
        """Whether a batch that begins before what is next was shipped, or left behind."""
        next_ = self._next
        return batch.last_offset < next_ or self._corruption.is_left(batch, next_, self._place, last=last)

    def _passes(self, batch: Batch, now: int) -> bool:
        """Whether a batch goes as it is, at a time in ms since 1970."""
        if batch.max_timestamp < now - min(_REMEMBERED_MS, self._limits.now.retention_ms):
            self._corruption.check(batch, self._place)
            self._ends.account.void(self.way, batch)
        base = batch.base_offset
        whole = base >= self._next and batch.last_offset - base + 1 == batch.count
        return whole and not batch.attributes & APPEND_TIME_BIT and self._fitter.takes(batch, now)

    def _whole(self, batch: Batch, size: int) -> Piece:
        """A batch that goes as it is, or one that stands for several of the source."""
        following, source = batch.last_offset + 1, self._merger.sources.get(batch.base_offset)
        if source is None:
            return Piece(following, batch.count, size, batch)
        return Piece(following, batch.count, size, source, offsets=range(batch.base_offset, following))

    def _send(self, pipeline: Pipeline, batch: Batch, piece: Piece) -> None:
        head, tail = restamped_head(batch, self._pid, self._era, sequence(self._count))
        rest = batch.raw[HEADER_BYTES:]
        piece.stamp = stamp_with(batch, tail)
        if self._keeps_data:
            piece.sent = head + rest
        pipeline.post(piece, Parts(head, rest))
        self._next, self._count = piece.next, self._count + piece.count

    def _skip(self, pipeline: Pipeline, following: int) -> None:
        """Have what was sent last stand for markers and aborted data behind it, too."""
        if not pipeline.skip(following):
            self._advance(following, 0)
        self._next = following

    async def _send_anew(self, pipeline: Pipeline, batch: Batch) -> None:
        """Send the records that were not shipped in batches of our own; see fitting.py."""
        found = self._unsent(batch)
        pieces, replaced = self._fitter.fit(batch, found)
        if replaced:
            await self._ends.account.replaced(self.way, self._era, replaced)
        self._ends.account.reworked(self.way, self._fitter.reworked)
        newest = self._merger.sources.get(batch.base_offset, batch)
        for piece in pieces:
            made, size = piece.batch, len(piece.batch.raw)
            await pipeline.room(size)
            self._send(pipeline, made, Piece(piece.next, made.count, size, newest, offsets=piece.offsets))
        if not pieces:
            self._skip(pipeline, batch.last_offset + 1)

    def _unsent(self, batch: Batch) -> list[Record]:
        return [each for each in self._corruption.records(batch, self._place) if each.offset >= self._next]
