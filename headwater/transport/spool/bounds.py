"""Where the log ends: in bytes (Full, Room) and in positions (Gap, Missing)."""

from __future__ import annotations

from typing import NamedTuple

from headwater.contract.errors import BadInput, DataMissing, Transient
from headwater.transport.spool.segments import HEADER


class Full(Transient):
    """The spool holds as many bytes as it may; nothing was written. Drain, trim or drop, then append again."""


class Gap(NamedTuple):
    """Positions from `start` up to but not including `end`."""

    start: int
    end: int


class Missing(DataMissing):
    """Records at these positions are not there (any more); what is left goes on at `gap.end`."""

    def __init__(self, gap: Gap, why: str) -> None:
        super().__init__(
            f"spool: records {gap.start} to {gap.end - 1} are missing: {why}",
            hint=f"count them as lost and go on at {gap.end}",
        )
        self.gap = gap


class Room:
    """Bytes that segments take on disk, with what is preallocated, against `most_bytes`."""

    def __init__(self, most_bytes: int, segment_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.segment_bytes = max(HEADER.size, min(segment_bytes, most_bytes // 8))  # dropping one leaves seven
        self._taken = 0
        self._left = 0  # in the last segment

    def reset(self, taken: int, left: int) -> None:
        """What all segments take, and how much of that is free in the last one."""
        self._taken, self._left = taken, left

    def give(self, size: int) -> None:
        """A segment of that size is gone."""
        self._taken -= size

    def fits(self, size: int) -> bool:
        """Whether the last segment has room for `size` bytes."""
        return size <= self._left

    def take(self, size: int, *, forced: bool = False) -> int:
        """Bytes of the new segment that a frame of `size` bytes starts, or 0: it fits into the last one.

        Raises Full, unless the frame was accepted before; BadInput when it fits into no spool of this size.
        """
        if size <= self._left:
            self._left -= size
            return 0
        least = HEADER.size + size
        if not forced and self._taken + least > self.most_bytes:
            if 2 * least + self.segment_bytes > self.most_bytes:  # the last segment stays, and may be as large
                raise BadInput(
                    f"spool: {size} bytes at once never fit into {self.most_bytes} bytes",
                    hint="append less at once, or make the spool larger",
                )
            raise Full(
                f"spool: {self._taken} of {self.most_bytes} bytes are taken, {size} more do not fit",
                hint="it empties when Kafka answers; until then the MQTT broker holds the rest",
            )
        allocated = max(least, min(self.segment_bytes, self.most_bytes - self._taken))
        self._taken += allocated
        self._left = allocated - least
        return allocated
