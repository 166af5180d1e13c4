"""Records of one batch, encoded one by one as they come, so that none is held as an object."""

from __future__ import annotations

from headwater.transport.kafka_batch.records import SMALL, varint

_join = b"".join


class Section:
    """Add records, then give it to `Writer.push`, once. `data` is all records, not compressed."""

    __slots__ = ("_stamp", "_stamped_ms", "count", "data", "first_ms", "newest_ms")

    def __init__(self) -> None:
        self.data = bytearray()
        self._stamp = b""
        self._stamped_ms = -1
        self.count = 0
        self.first_ms = 0
        self.newest_ms = 0

    def add(self, key: bytes, value: bytes, headers: bytes, now_ms: int) -> int:
        """Add a record with time `now_ms`; `key` as `key_block` makes it, `headers` as their number and blocks.

        Bytes so far.
        """
        if now_ms != self._stamped_ms:
            self._stamp_at(now_ms)
        index, size = self.count, len(value)
        place = SMALL[index] if index < 8192 else varint(index)
        length = SMALL[size] if size < 8192 else varint(size)
        body = _join((self._stamp, place, key, length, value, headers))
        size = len(body)
        data = self.data
        data += SMALL[size] if size < 8192 else varint(size)
        data += body
        self.count = index + 1
        return len(data)

    def _stamp_at(self, now_ms: int) -> None:
        if not self.count:
            self.first_ms = self.newest_ms = now_ms
        self.newest_ms = max(self.newest_ms, now_ms)
        self._stamped_ms = now_ms
        self._stamp = b"\0" + varint(now_ms - self.first_ms)  # attributes and the distance in time

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self.data)
