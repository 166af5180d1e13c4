"""Reading the log from any position: in sequence cheap, over damage only by name."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress

from headwater.transport.files import file_error
from headwater.transport.spool.bounds import Gap, Missing
from headwater.transport.spool.folder import Folder
from headwater.transport.spool.frames import Head, Record, intact, unpack
from headwater.transport.spool.scan import Window
from headwater.transport.spool.segments import HEADER, Segment


class Reader:
    """One cursor over `segments`, which the spool keeps up to date."""

    def __init__(self, folder: Folder, segments: list[Segment]) -> None:
        self._folder = folder
        self._segments = segments
        self._segment: Segment | None = None
        self._window: Window | None = None
        self._offset = 0  # frames from here on …
        self._position = 0  # … hold positions from here on
        self._kept: list[Record] = []  # of the frame before the cursor, not yet asked for
        self._kept_bytes = 0

    def read(self, position: int, durable: int, most_bytes: int) -> list[Record]:
        """Records in sequence up to the durable end or the next gap, at least one; their parts within `most_bytes`.

        Raises Missing where the record at `position` is not there, Permanent where the disk cannot be read.
        """
        result: list[Record] = []
        while position < durable:
            try:
                rows, size = self._rows(position, durable)
            except Missing:
                if result:
                    break  # the next call begins with it
                raise
            taken = len(rows)
            if size > most_bytes:
                taken, weight = _fitting(rows, most_bytes, 0 if result else 1)
                self._kept, self._kept_bytes = rows[taken:], size - weight
                rows = rows[:taken]
            result += rows
            most_bytes -= size
            position += taken
            if most_bytes <= 0:
                break
        return result

    def time_ms(self, position: int, durable: int) -> int | None:
        """When the first record at `position` or behind it was appended, in ms of Unix time; None if there is none."""
        while position < durable:
            try:
                return self._find(position, durable)[1].time_ms
            except Missing as missing:
                position = missing.gap.end
        return None

    def close(self) -> None:
        """Let go of the file."""
        if self._window is not None:
            with suppress(OSError):  # it was only read
                self._window.file.close()
        self._window = self._segment = None

    def _rows(self, position: int, durable: int) -> tuple[list[Record], int]:
        """The records of one frame from `position` on, and at most how many bytes they have."""
        if self._kept and self._kept[0][0] == position:
            rows, self._kept = self._kept, []
            return rows, self._kept_bytes
        try:
            place, head, window = self._find(position, durable)
            body = window.body(place, head)
        except OSError as error:
            raise file_error(error, self._folder.path) from error
        self._offset, self._position = place + head.size, head.end
        if not intact(head, body):
            raise Missing(Gap(position, head.end), "the checksum does not match")
        return unpack(head, body)[position - head.position :], head.body_bytes

    def _find(self, position: int, durable: int) -> tuple[int, Head, Window]:
        """The frame that holds `position`."""
        index = bisect_right(self._segments, position, key=lambda segment: segment.base) - 1
        segment = self._segments[index]
        stop = self._segments[index + 1].base if index + 1 < len(self._segments) else durable
        window = self._opened(segment)
        if self._position > position:
            self._offset, self._position = HEADER.size, segment.base
        while found := window.frame(self._offset, self._position, min(stop, segment.end)):
            place, head = found
            if head.position > position:
                raise Missing(Gap(position, head.position), "they are damaged on disk")
            if head.end > position:
                return place, head, window
            self._offset, self._position = place + head.size, head.end
        raise Missing(Gap(position, stop), "the segment ends before them")

    def _opened(self, segment: Segment) -> Window:
        if self._window is None or self._segment is not segment:
            self.close()
            self._window = Window(self._folder.open(segment.name), segment.salt)
            self._segment = segment
            self._offset, self._position = HEADER.size, segment.base
        self._window.limit = segment.used
        return self._window


def _fitting(rows: list[Record], most_bytes: int, least: int) -> tuple[int, int]:
    """How many of the first records fit, and their bytes."""
    weight = 0
    for count, (_, *parts) in enumerate(rows):
        size = sum(map(len, parts))
        if weight + size > most_bytes and count >= least:
            return count, weight
        weight += size
    return len(rows), weight
