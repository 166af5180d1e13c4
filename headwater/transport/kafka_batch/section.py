"""Records of one batch, encoded one by one as they come, so that none is held as an object."""

from __future__ import annotations

from headwater.transport.kafka_batch.records import SMALL, varint

_join = b"".join


class Section:
    """Add records, then give it to `Writer.push`, once. `size` is in bytes, before compression."""

    __slots__ = ("_parts", "_stamp", "_stamped_ms", "count", "first_ms", "newest_ms", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._stamp = b""
        self._stamped_ms = -1
        self.count = 0
        self.size = 0
        self.first_ms = 0
        self.newest_ms = 0

    def add(self, key: bytes, value: bytes, headers: bytes, now_ms: int) -> None:
        """Add a record with time `now_ms`; `key` as `key_block` makes it, `headers` as their number and blocks."""
        if now_ms != self._stamped_ms:
            self._stamp_at(now_ms)
        index, size = self.count, len(value)
        place = SMALL[index] if index < 8192 else varint(index)
        length = SMALL[size] if size < 8192 else varint(size)
        body = _join((self._stamp, place, key, length, value, headers))
        size = len(body)
        self._parts += (SMALL[size] if size < 8192 else varint(size), body)
        self.count = index + 1
        self.size += size + 2

    def _stamp_at(self, now_ms: int) -> None:
        if not self.count:
            self.first_ms = self.newest_ms = now_ms
        self.newest_ms = max(self.newest_ms, now_ms)
        self._stamped_ms = now_ms
        self._stamp = b"\0" + varint(now_ms - self.first_ms)  # attributes and the distance in time

    @property
    def data(self) -> bytes:
        """All records."""
        return b"".join(self._parts)
