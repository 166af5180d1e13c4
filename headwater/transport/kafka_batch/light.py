"""Keys and values of a batch, without the rest of its records: for those who leave most of them out."""

from __future__ import annotations

from collections.abc import Callable

from headwater.transport.kafka_batch.batches import HEADER_BYTES, Batch
from headwater.transport.kafka_batch.compression import inflate
from headwater.transport.kafka_batch.records import Record, record_at, varint_at
from headwater.transport.kafka_batch.wire import reading


class Light:
    """Made by `lightly_read`: `keys` and `values` by index; `record` reads one as `records` does."""

    __slots__ = ("_batch", "_data", "_stamp", "_starts", "keys", "values")

    def __init__(self, batch: Batch, data: bytes) -> None:
        self.keys: list[bytes | None] = []
        self.values: list[bytes | None] = []
        self._batch, self._data = batch, data
        self._starts: list[int] = []
        self._stamp = batch.max_timestamp if batch.is_append_time else None
        self._read(batch.count)

    def record(self, index: int) -> Record:
        """One record, whole; BadInput if its rest is malformed."""
        with reading(f"the batch at offset {self._batch.base_offset}"):
            size, at = varint_at(self._data, self._starts[index])
            return record_at(self._data, at, at + size, self._batch, self._stamp)

    def _read(self, count: int) -> None:
        """As in `records`; numbers of one or two bytes are read in place, since a call costs as much as all else."""
        data, at, length = self._data, 0, len(self._data)
        keys, values, starts = self.keys.append, self.values.append, self._starts.append
        for _ in range(count):
            starts(at)
            byte = data[at]
            if byte > 127 and (more := data[at + 1]) < 128:
                at += 2
                end = at + (((byte & 127 | more << 7) >> 1) ^ -(byte & 1))
            else:
                size, at = varint_at(data, at)
                end = at + size
            if not at < end <= length:
                raise IndexError(f"a record from {at} to {end} of {length}")
            at += 1
            while data[at] > 127:  # its time
                at += 1
            at += 1
            while data[at] > 127:  # its place in the batch
                at += 1
            at += 1
            byte = data[at]
            if byte < 128 and not byte & 1:
                behind = at + 1 + (byte >> 1)
                keys(data[at + 1 : behind])
            else:
                behind = _blob(data, at, keys)
            byte = data[behind]
            if byte > 127 and not byte & 1 and (more := data[behind + 1]) < 128:
                at = behind + 2
                behind = at + ((byte & 127 | more << 7) >> 1)
                values(data[at:behind])
            else:
                behind = _blob(data, behind, values)
            if behind >= end:  # its headers have a number at least
                raise IndexError(f"a record that should end at {end} goes on to {behind}")
            at = end
        if at != length:
            raise IndexError(f"{length - at} bytes behind the last record")


def _blob(data: bytes, at: int, taken: Callable[[bytes | None], None]) -> int:
    """Take bytes of any length, or none; the place behind them."""
    size, at = varint_at(data, at)
    if size < 0:
        taken(None)
        return at
    taken(data[at : at + size])
    return at + size


def lightly_read(batch: Batch) -> Light:
    """Read keys and values; BadInput if they are malformed."""
    with reading(f"the batch at offset {batch.base_offset}"):
        return Light(batch, bytes(inflate(batch.attributes & 7, batch.raw[HEADER_BYTES:])))
