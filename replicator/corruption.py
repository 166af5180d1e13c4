"""Batches of the source that cannot be right: read once more, then given up, and named in a gap by the next anchor.

A checksum is never made to fit: a batch that is passed on carries its fault to the target, which refuses it, and one
that is unpacked is checked first. A batch that does not count as data (a marker, an aborted transaction, none left by
compaction) is checked too, since a flipped bit of its header may be what says so.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import NamedTuple, NoReturn

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Batch, Cluster, Record, records
from headwater.transport.kafka_batch.reading import walk
from replicator.anchor import Lost
from replicator.engine import Unsettled
from replicator.position import CORRUPT, UNREADABLE
from replicator.way import Way

_READINGS = 2  # what was spoilt on the way, or in this machine's memory, is right at the second reading


class _Bad(NamedTuple):
    place: object
    base: int
    cause: str


class Corruption:
    """What is known of one partition's bad batches.

    A place is whatever tells that all before a batch was shipped; it is the same before and after an anchor.
    """

    def __init__(self, way: Way) -> None:
        self._way = way
        self._readings: dict[int, int] = {}  # of bad batches, by base offset
        self._given_up: _Bad | None = None

    def check(self, batch: Batch, place: object) -> None:
        """Pass a batch whose checksum holds. Unsettled: anchor, which reads it again or knows what is lost."""
        if not batch.crc_ok():
            self._found(batch, place, CORRUPT, "does not match its checksum")

    def records(self, batch: Batch, place: object) -> list[Record]:
        """Unpack a batch; raises as `check`, also for one whose checksum holds and whose records cannot be read."""
        self.check(batch, place)
        try:
            return records(batch)
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
        self._given_up = _Bad(place, base, cause)
        raise Unsettled(said)

    async def lost(self, probe: Cluster, source_next: int, place: object) -> Lost | None:
        """What is lost if a batch was given up at this place: all of it, up to the next one."""
        bad, self._given_up = self._given_up, None
        if bad is None or bad.place != place:
            return None
        end = await _behind(probe, self._way, bad)
        self._readings.clear()
        return Lost(bad.cause, max(source_next, bad.base), end, end)


async def _behind(probe: Cluster, way: Way, bad: _Bad) -> int:
    """First offset that does not belong to a bad batch: its own header may be what is wrong."""
    end = (await probe.offsets(way.topic, "latest"))[way.partition]
    async with aclosing(walk(probe, way.topic, way.partition, bad.base, end)) as walked:
        async for batch, _ in walked:
            if batch.base_offset > bad.base:
                return batch.base_offset
    return end
