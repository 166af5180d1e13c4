"""Frames of one segment, one after the other, also over damage."""

from __future__ import annotations

from headwater.transport.spool.folder import File
from headwater.transport.spool.frames import HEAD, MAGIC, Head, parse_head
from headwater.transport.spool.segments import HEADER

_AHEAD = 256 << 10


class Window:
    """A file seen through a buffer, up to `limit` bytes: what is behind is not durable, or not a part of the log."""

    def __init__(self, file: File, salt: bytes) -> None:
        self.file = file
        self.limit = 0
        self._salt = salt
        self._start = 0
        self._data = b""

    def at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        begin = offset - self._start
        if begin < 0 or begin + size > len(self._data):
            size = min(size, self.limit - offset)
            if size <= 0:
                return b""
            self._data = self.file.read_at(offset, min(max(size, _AHEAD), self.limit - offset))
            self._start = offset
            begin = 0
        return self._data[begin : begin + size]

    def frame(self, offset: int, lowest: int, highest: int) -> tuple[int, Head] | None:
        """The first frame at `offset` or behind it whose head is whole and whose positions are within the bounds.

        The body is not looked at. None: there is none up to the limit.
        """
        offset = max(offset, HEADER.size)
        while True:
            head = parse_head(self.at(offset, HEAD.size), self._salt)
            if head and head.position >= lowest and head.end <= highest and offset + head.size <= self.limit:
                return offset, head
            found = self._magic(offset + 1)
            if found is None:
                return None
            offset = found

    def _magic(self, offset: int) -> int | None:
        while offset + HEAD.size <= self.limit:
            data = self.at(offset, min(_AHEAD, self.limit - offset))
            place = data.find(MAGIC)
            if place >= 0:
                return offset + place
            offset += len(data) - len(MAGIC) + 1
        return None

    def body(self, offset: int, head: Head) -> bytes:
        """The bytes behind the head at `offset`."""
        return self.at(offset + HEAD.size, head.body_bytes)
