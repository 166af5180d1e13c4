"""Batches as the target takes them: whole where that is possible, else cut, recompressed, or with stand-ins.

What a target takes is known from its configuration (limits.py) and learnt from what it refuses. Only the order and the
number of records matter to the anchor, not where batches begin: they are the same however a batch is cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from headwater.contract.errors import Refused
from headwater.transport.kafka_batch import Batch, Out, Produced, Record, batches, encode
from headwater.transport.kafka_batch.batches import CODEC_BITS
from headwater.transport.kafka_batch.compression import CODECS, Codec
from headwater.transport.kafka_batch.records import encoded_bytes
from replicator import quarantine
from replicator.limits import NO_LIMIT, TopicLimits
from replicator.way import Way

_WRITTEN: tuple[Codec, ...] = ("none", "lz4", "zstd")
_INSTEAD: Codec = "zstd"
_ZSTD = CODECS.index("zstd")
_TOO_LARGE = frozenset({10, 18})
_INVALID_TIMESTAMP, _CODEC_REFUSED, _INVALID_RECORD = 32, 76, 87
_KEYLESS = "without key"  # of the sentence with which a broker refuses such a record (LogValidator.validateKey)
_NO_TIME = -1
_FULL = 0.9  # of a limit: pieces of a batch do not compress equally well


class Piece(NamedTuple):
    """Part of a source batch, to be sent under the link's name.

    `batch` is made of `outs`; `offsets` are its records' at the source, and `next` is the source offset behind what it
    stands for.
    """

    batch: Batch
    outs: list[Out]
    offsets: Sequence[int]
    next: int


class Replaced(NamedTuple):
    """A record for which something else stands at the target."""

    record: Record
    reasons: frozenset[str]


class _Entry(NamedTuple):
    record: Record
    out: Out
    reasons: frozenset[str]


class Fitter:
    """One partition's. `reworked` counts batches that were built anew, by why.

    replaced: something else stands for some of its records; split: it was too large; thinned: compaction has left holes
    in it; append-time: its records have another time than they were made with; resumed: its beginning was shipped
    before; recompressed: the target does not take its codec; slow: it would have had the link for too long in one piece
    (links/sizing.py).
    """

    def __init__(
        self,
        way: Way,
        limits: TopicLimits,
        clock: Callable[[], int],
        *,
        dress: Callable[[Record, Out], Out] | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.reworked: dict[str, int] = {}
        self._dress = dress
        self._codec = codec
        self._way = way
        self._limits = limits
        self._clock = clock
        self._learnt_bytes = self.road_bytes = self._most_bytes = NO_LIMIT
        self._learnt_under = limits.now
        self._refused: dict[int, set[str]] = {}  # records by source offset, and why
        self._alone: set[int] = set()  # source offsets of records that go alone, to see which one is refused
        self._zstd = True

    def takes(self, batch: Batch, now: int) -> bool:
        """Whether the target takes a batch as it is at a time (ms since 1970), for all that is known."""
        limits = self._limits.now
        if (len(batch.raw) > limits.batch_bytes or len(batch.raw) > self._most_bytes) and self._is_cut(batch):
            return False
        if limits.bounds_times and not self._in_time(batch.base_timestamp, batch.max_timestamp, now):
            return False
        if not self._zstd and batch.attributes & CODEC_BITS == _ZSTD:
            return False
        if self._refused or self._alone:
            within = range(batch.base_offset, batch.last_offset + 1)
            return not any(offset in within for offset in (*self._refused, *self._alone))
        return True

    def _is_cut(self, batch: Batch) -> bool:
        """Whether a batch that is too large for the target, or for the road, is built anew."""
        return batch.count > 1 or len(batch.raw) > min(self._limits.now.batch_bytes, self._learnt_bytes)

    def _in_time(self, oldest_ms: int, newest_ms: int, now: int) -> bool:
        limits = self._limits.now
        untimed = oldest_ms == _NO_TIME  # which a broker takes
        return (untimed or now - oldest_ms <= limits.before_ms) and newest_ms - now <= limits.after_ms

    def fit(self, batch: Batch, found: Sequence[Record]) -> tuple[list[Piece], list[Replaced]]:
        """Cut the records of a batch, all or the last ones, into pieces; also which ones something else stands for.

        Refused: what stands for a record does not fit either.
        """
        if not found:
            return [], []
        entries = [self._entry(record) for record in found]
        codec = self._codec or (batch.codec if batch.codec in _WRITTEN else _INSTEAD)
        if codec == "zstd" and not self._zstd:
            codec = "lz4"
        cut = [part for run in self._runs(entries) for part in self._cut(run, codec)]
        pieces: list[Piece] = []
        replaced: list[Replaced] = []
        for index, (data, run) in enumerate(cut):
            offsets = [entry.record.offset for entry in run]
            following = offsets[-1] + 1 if index + 1 < len(cut) else batch.last_offset + 1
            outs = [entry.out for entry in run]
            pieces.append(Piece(next(batches(memoryview(data))), outs, offsets, following))
            replaced += [Replaced(entry.record, entry.reasons) for entry in run if entry.reasons]
        why = _why(batch, found, len(pieces), len(replaced))
        if why == "split" and len(batch.raw) <= min(self._limits.now.batch_bytes, self._learnt_bytes):
            why = "slow"
        self.reworked[why] = self.reworked.get(why, 0) + 1
        return pieces, replaced

    def _entry(self, record: Record) -> _Entry:
        reasons = set(self._refused.get(record.offset, ()))
        limits = self._limits.now
        if limits.bounds_times and not self._in_time(record.timestamp_ms, record.timestamp_ms, self._clock()):
            reasons.add(quarantine.TIMESTAMP)
        if limits.compacted and record.key is None:
            reasons.add(quarantine.KEYLESS)
        return self._made(record, frozenset(reasons))

    def _made(self, record: Record, reasons: frozenset[str]) -> _Entry:
        if not reasons:
            out = Out(record.key, record.value, record.headers, record.timestamp_ms)
            return _Entry(record, out if self._dress is None else self._dress(record, out), reasons)
        compacted = self._limits.now.compacted
        return _Entry(
            record, quarantine.stand_in(record, reasons, self._way, self._clock(), compacted=compacted), reasons
        )

    def _runs(self, entries: list[_Entry]) -> Iterator[list[_Entry]]:
        """Apart: records that go alone. Together: those between them."""
        run: list[_Entry] = []
        for entry in entries:
            if entry.record.offset in self._alone:
                if run:
                    yield run
                yield [entry]
                run = []
            else:
                run.append(entry)
        if run:
            yield run

    def _cut(self, entries: list[_Entry], codec: Codec) -> Iterator[tuple[bytearray, list[_Entry]]]:
        data = encode([entry.out for entry in entries], codec=codec)
        most = min(self._limits.now.batch_bytes, self._learnt_bytes)
        if len(data) <= most and (len(data) <= self.road_bytes or len(entries) == 1):
            yield data, entries
        elif len(entries) > 1:
            for part in _parts(entries, len(data) / (min(most, self.road_bytes) * _FULL)):
                yield from self._cut(part, codec)
        elif quarantine.TOO_LARGE in entries[0].reasons:
            raise Refused(
                f"{self._way}: {len(data)} bytes are too many even for what stands for offset "
                f"{entries[0].record.offset}; the topic takes {most}",
                hint="raise max.message.bytes of the topic",
            )
        else:
            record, _, reasons = entries[0]
            yield from self._cut([self._made(record, reasons | {quarantine.TOO_LARGE})], codec)

    def pace(self, road_bytes: int) -> None:
        """Have no batch of several records be larger: it would have the link for too long."""
        self.road_bytes = road_bytes
        self._most_bytes = min(road_bytes, self._learnt_bytes)

    @property
    def heeds(self) -> bool:
        """Whether something was refused, so that what `fit` makes must be sent as it is, and nothing put together."""
        return bool(self._refused or self._alone or self._learnt_bytes < NO_LIMIT)

    def learns(self, answer: Produced, offsets: Sequence[int], size: int) -> bool:
        """Heed a refusal of these records, `size` bytes as sent; whether they will be sent in another shape.

        After it, the topic's limits should be asked for again.
        """
        code = answer.error
        if code in _TOO_LARGE:
            return self._learns_size(offsets, size)
        if code == _CODEC_REFUSED:
            known, self._zstd = not self._zstd, False
            return not known
        if code not in {_INVALID_TIMESTAMP, _INVALID_RECORD}:
            return False
        if not answer.at_fault and len(offsets) > 1:
            self._alone.update(offsets)
            return True
        why = _reason(answer)
        accused = [offsets[index] for index in answer.at_fault if index < len(offsets)] or list(offsets)
        return sum(self._accuse(offset, why) for offset in accused) > 0

    def _learns_size(self, offsets: Sequence[int], size: int) -> bool:
        if len(offsets) == 1:
            return self._accuse(offsets[0], quarantine.TOO_LARGE)
        # The topic may compress batches anew and then find them too large: its limit says less than its refusal.
        self._learnt_bytes = max(size // 2, 1)
        self.pace(self.road_bytes)
        return True

    def _accuse(self, offset: int, why: str) -> bool:
        """Note a reason; a record that is refused for the same one again is refused for whatever it is."""
        reasons = self._refused.setdefault(offset, set())
        more = why if why not in reasons else quarantine.REFUSED
        if more in reasons:
            return False
        reasons.add(more)
        return True

    def settled(self, source_next: int) -> None:
        """Forget the records before an offset, which the target has."""
        if self._refused or self._alone:
            self._refused = {offset: why for offset, why in self._refused.items() if offset >= source_next}
            self._alone = {offset for offset in self._alone if offset >= source_next}

    async def refresh(self, *, at_once: bool = False) -> None:
        """Ask for the topic's limits again; where they have changed, what was learnt of sizes is forgotten."""
        await self._limits.refresh(at_once=at_once)
        if self._limits.now != self._learnt_under:
            self._learnt_bytes, self._learnt_under = NO_LIMIT, self._limits.now
            self.pace(self.road_bytes)


def _why(batch: Batch, found: Sequence[Record], pieces: int, replaced: int) -> str:
    if replaced:
        return "replaced"
    if pieces > 1:
        return "split"
    if batch.last_offset - batch.base_offset + 1 != batch.count:
        return "thinned"
    if batch.is_append_time:
        return "append-time"
    return "resumed" if len(found) < batch.count else "recompressed"


def _reason(answer: Produced) -> str:
    if answer.error == _INVALID_TIMESTAMP:
        return quarantine.TIMESTAMP
    return quarantine.KEYLESS if _KEYLESS in answer.detail else quarantine.REFUSED


def _parts(entries: list[_Entry], wanted: float) -> Iterator[list[_Entry]]:
    """Cut into two or more parts of about the same size."""
    number = min(len(entries), max(2, math.ceil(wanted)))
    sizes = [encoded_bytes(entry.out) for entry in entries]
    share, first, used = sum(sizes) / number, 0, 0
    for index, size in enumerate(sizes):
        if index > first and used + size > share:
            yield entries[first:index]
            first, used = index, 0
        used += size
    yield entries[first:]
