"""The records of many batches at once, as columns: each step is taken for all records together by numpy.

The format is that of records.py. Whatever is unusual in a batch (a malformed length, a varint of more than five bytes,
more than 64 headers) is left to records.py, which is slower, reads everything, and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headwater.contract import headers
from headwater.transport.kafka_batch.batches import HEADER_BYTES, Batch
from headwater.transport.kafka_batch.compression import inflate
from headwater.transport.kafka_batch.reading import checked_records
from headwater.transport.kafka_batch.records import FENCE_KEY, varint_at
from headwater.transport.record_columns import Ints, RecordColumns

Bytes = npt.NDArray[np.uint8]
_MOST_HEADERS = 64
_LONGEST = 35  # bits of a varint of five bytes


class _Unusual(Exception):
    """Left to records.py; never leaves this module."""


def record_columns(topic: str, partition: int, batches: Sequence[Batch], mark: str) -> RecordColumns:
    """The records of data batches in order, without those of fence.py, with the value of their last header `mark`.

    BadInput for a bad checksum or a malformed record, naming its batch.
    """
    if all(batch.crc_ok() for batch in batches):
        try:
            return _without_fences(batches, _together(batches, mark.encode()))
        except (_Unusual, IndexError, UnicodeDecodeError):
            pass
    found = [record for batch in batches for record in checked_records(topic, partition, batch)]
    return RecordColumns(
        np.array([each.offset for each in found], np.int64),
        np.array([each.timestamp_ms for each in found], np.int64),
        [each.key for each in found],
        [each.value for each in found],
        [headers.find(each.headers, mark) for each in found],
    )


def _together(batches: Sequence[Batch], mark: bytes) -> RecordColumns:
    sections = [bytes(inflate(batch.attributes & 7, batch.raw[HEADER_BYTES:])) for batch in batches]
    data = b"".join(sections)
    starts, ends = _places(batches, sections, data)
    view = np.frombuffer(data, np.uint8)
    times, at = _varints(view, starts + 1, ends)
    deltas, at = _varints(view, at, ends)
    keys, at = _blobs(view, at, ends)
    values, at = _blobs(view, at, ends)
    marks, at = _marks(view, at, ends, mark)
    if not np.array_equal(at, ends):
        raise _Unusual
    counts = [batch.count for batch in batches]
    stamp = np.array([batch.max_timestamp if batch.is_append_time else 0 for batch in batches], np.int64)
    appended = np.repeat([batch.is_append_time for batch in batches], counts)
    base = np.repeat(np.array([batch.base_timestamp for batch in batches], np.int64), counts)
    return RecordColumns(
        np.repeat(np.array([batch.base_offset for batch in batches], np.int64), counts) + deltas,
        np.where(appended, np.repeat(stamp, counts), base + times),
        _pieces(data, *keys),
        _pieces(data, *values),
        _pieces(data, *marks),
    )


def _places(batches: Sequence[Batch], sections: Sequence[bytes], data: bytes) -> tuple[Ints, Ints]:
    """Where each record begins, behind its length, and where it ends: a length says where the next one is."""
    starts: list[int] = []
    ends: list[int] = []
    at = end = 0
    for batch, section in zip(batches, sections, strict=True):
        end += len(section)
        for _ in range(batch.count):
            size = data[at]
            at += 1
            if size < 128:
                size = (size >> 1) ^ -(size & 1)
            else:
                size, at = varint_at(data, at - 1)
            if size < 0:
                raise _Unusual
            starts.append(at)
            at += size
            ends.append(at)
        if at != end:
            raise _Unusual
    return np.array(starts, np.int64), np.array(ends, np.int64)


def _varints(view: Bytes, at: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Values and next positions; IndexError beyond the last byte, _Unusual beyond a record's own end."""
    byte = view[at].astype(np.int64)
    value, at = byte & 127, at + 1
    more = np.flatnonzero(byte > 127)
    shift = 7
    while len(more):
        if shift >= _LONGEST:
            raise _Unusual
        byte = view[at[more]].astype(np.int64)
        value[more] |= (byte & 127) << shift
        at[more] += 1
        more = more[byte > 127]
        shift += 7
    if (at > ends).any():
        raise _Unusual
    return (value >> 1) ^ -(value & 1), at


def _blobs(view: Bytes, at: Ints, ends: Ints) -> tuple[tuple[Ints, Ints], Ints]:
    """First byte and size (-1: null) of what stands behind its length, and next positions."""
    size, at = _varints(view, at, ends)
    if ((size < -1) | (size > ends - at)).any():
        raise _Unusual
    return (at, size), at + np.maximum(size, 0)


def _marks(view: Bytes, at: Ints, ends: Ints, mark: bytes) -> tuple[tuple[Ints, Ints], Ints]:
    """First byte and size of the last header of that name (size -1 where there is none), and next positions."""
    counts, at = _varints(view, at, ends)
    first, size = np.zeros(len(at), np.int64), np.full(len(at), -1, np.int64)
    if len(counts) and not 0 <= counts.min() <= counts.max() <= _MOST_HEADERS:
        raise _Unusual
    wanted = np.frombuffer(mark, np.uint8)
    for number in range(int(counts.max(initial=0))):
        those = np.flatnonzero(counts > number)
        (name_at, name_size), behind = _blobs(view, at[those], ends[those])
        (content_at, content_size), behind = _blobs(view, behind, ends[those])
        if (name_size < 0).any():
            raise _Unusual
        like = np.flatnonzero(name_size == len(mark))
        same = like[(view[name_at[like, None] + np.arange(len(mark))] == wanted).all(axis=1)]
        first[those[same]], size[those[same]] = content_at[same], content_size[same]
        at[those] = behind
    return (first, size), at


def _pieces(data: bytes, at: Ints, size: Ints) -> list[bytes | None]:
    ends = at + size
    if len(size) and size.min() < 0:
        return [None if b < a else data[a:b] for a, b in zip(at.tolist(), ends.tolist(), strict=True)]
    return [data[a:b] for a, b in zip(at.tolist(), ends.tolist(), strict=True)]


def _without_fences(batches: Sequence[Batch], found: RecordColumns) -> RecordColumns:
    """Without single records of the key of fence.py that have no value."""
    if FENCE_KEY not in found.keys:
        return found
    alone = np.repeat([batch.count == 1 for batch in batches], [batch.count for batch in batches])
    kept = [
        number
        for number, (key, value) in enumerate(zip(found.keys, found.values, strict=True))
        if not (alone[number] and key == FENCE_KEY and value is None)
    ]
    lists = ([column[number] for number in kept] for column in (found.keys, found.values, found.marks))
    return RecordColumns(found.offsets[kept], found.timestamps_ms[kept], *lists)
