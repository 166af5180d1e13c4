"""Batches of the source that cannot be right: read once more, then given up, and named in a gap by the next anchor.

A checksum is never made to fit: a batch that is passed on carries its fault to the target, which refuses it, and one
that is unpacked is checked first. A batch that does not count as data (a marker, an aborted transaction, none left by
compaction) is checked too, since a flipped bit of its header may be what says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, NoReturn

from headwater.contract.errors import BadInput, Untrusted
from headwater.transport.kafka_batch import Batch, Cluster, Record, batches, codes, records
from replicator.anchor import Lost
from replicator.engine import Unsettled
from replicator.position import CORRUPT, UNREADABLE
from replicator.way import Way

_NEXT_BYTES = 2 << 20  # enough for a batch to be seen behind the bad one
_READINGS = 2  # what was spoilt on the way, or in this machine's memory, is right at the second reading


class _Bad(NamedTuple):
    place: object
    base: int
    cause: str
    end: int = 0  # where the loss ends, if that is known
    size: int = 0


class Corruption:
    """What is known of one partition's bad batches.

    A place is whatever tells that all before a batch was shipped; it is the same before and after an anchor.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._readings: dict[int, int] = {}  # of bad batches, by base offset
        self._given_up: _Bad | None = None
        self._left: set[int] = set()  # base offsets of batches that were named

    def check(self, batch: Batch, place: object) -> None:
        """Pass a batch whose checksum holds. Unsettled: anchor, which reads it again or knows what is lost."""
        if not batch.crc_ok():
            self._found(batch, place, CORRUPT, "does not match its checksum")

    def records(self, batch: Batch, place: object, read: Callable[[Batch], list[Record]] = records) -> list[Record]:
        """Unpack a batch; raises as `check`, also for one whose checksum holds and whose records cannot be read."""
        self.check(batch, place)
        try:
            return read(batch)
        except BadInput as error:
            self._found(batch, place, UNREADABLE, f"cannot be read ({error})")

    def _found(self, batch: Batch, place: object, cause: str, what: str) -> NoReturn:
        way, base, last = self._way, batch.base_offset, batch.last_offset
        said = (
            f"{way.topic}[{way.partition}]: the batch at offsets {base} to {last} is corrupt in the source: it {what}"
        )
        self._readings = {base: self._readings.get(base, 0) + 1}
        if self._readings[base] < _READINGS:
            raise Unsettled(f"{said}; reading it again")
        self._given_up = _Bad(place, base, cause, size=len(batch.raw))
        raise Unsettled(said)

    def is_left(self, batch: Batch, source_next: int, place: object, *, last: bool) -> bool:
        """Whether a batch was named and left behind; its header may claim offsets that are not its own.

        Where nothing follows it in a fetch (`last`), the next fetch begins behind what it claims: Unsettled, and all
        of that is lost.
        """
        if batch.base_offset not in self._left:
            return False
        if last and batch.last_offset >= source_next:
            self._given_up = _Bad(place, source_next, CORRUPT, batch.last_offset + 1)
            raise Unsettled(f"{self._way}: offsets {source_next} to {batch.last_offset} are hidden by a corrupt batch")
        return True

    async def lost(self, probe: Cluster, source_next: int, place: object) -> Lost | None:
        """What is lost if a batch was given up at this place: all of it, up to the next one."""
        bad, self._given_up = self._given_up, None
        if bad is None or bad.place != place:
            return None
        end = bad.end or await _behind(probe, self._way, bad)
        self._left.add(bad.base)
        self._readings.clear()
        first = max(source_next, bad.base)
        return Lost(bad.cause, first, end, end) if first < end else None


async def _behind(probe: Cluster, way: Way, bad: _Bad) -> int:
    """First offset that does not belong to a bad batch: that of the next one, since its own header may be wrong."""
    most = bad.size + _NEXT_BYTES
    (fetched,) = await probe.fetch({(way.topic, way.partition): bad.base}, max_bytes=most, partition_max_bytes=most)
    codes.check(fetched.error, f"reading {way.topic}[{way.partition}] from offset {bad.base}")
    try:
        for batch in batches(fetched.data):
            if batch.base_offset > bad.base:
                return batch.base_offset
    except BadInput as error:
        raise unreadable(way, bad.base, str(error)) from error
    return (await probe.offsets(way.topic, "latest"))[way.partition]


def unreadable(way: Way, at: int, damage: str) -> Untrusted:
    """Build the error for a log that cannot be read on from an offset, though its broker is there."""
    return Untrusted(
        f"{way.topic}[{way.partition}]: from offset {at} on, the source's log cannot be read: {damage}",
        hint="its length or format is damaged there; restore it from a replica, or make the topic again",
    )
