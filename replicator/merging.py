"""Small source batches in a row leave as one.

A broker takes one batch a partition in a request, and what a batch costs does not depend on what is in it: some ten
microseconds here, and its share of a request and of the batches that may be under way. A record that is taken out and
put into another batch costs one to four. So batches of up to FEW records are merged where several are at hand, up to
MERGED_BYTES; larger ones are left as they are, and so is a single one: nothing waits for company. (Batches of 15
records of 1 KB cost 38 µs of CPU each as they are and 77 merged; on one partition in lz4 48 and 78.)

Only plain data of one codec is merged, its offsets without a hole, its checksum right: whatever is wrong with a batch
shows where it would have shown. Records keep everything but their place in a batch. The anchor counts records, not
batches, so it does not matter to it where they are cut, nor that another life cuts them elsewhere.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Batch, Fetched, Out, batches, encode, records
from headwater.transport.kafka_batch.batches import CODEC_BITS, HEADER_BYTES
from headwater.transport.kafka_batch.compression import CODECS, inflate_small
from headwater.transport.kafka_batch.crc import checksum
from headwater.transport.kafka_batch.reading import Found, judged
from headwater.transport.kafka_batch.records import SMALL, encode_records, varint

FEW = 4
MERGED_BYTES = 64 << 10
_LEAST = 3  # batches
_INFLATED = 4  # a merged batch may hold so many times MERGED_BYTES when it is inflated
_CRC_START = 21
_WRITTEN = frozenset(number for number, codec in enumerate(CODECS) if codec in ("none", "lz4", "zstd"))
# Of a header: base offset, length, magic, checksum, attributes, last offset delta, base timestamp, count (batches.py).
_HEAD = struct.Struct(">qi4xbIhiq8x8x2x4xi")

_TIMED = tuple(b"\0" + delta for delta in SMALL)  # attributes and time of a record


class _Run(NamedTuple):
    """Batches that were merged: the one that stands for them, where the last begins and ends, and how many they are."""

    batch: Batch
    last: int
    end: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count


class Merger:
    """One partition's. `sources` has the last source batch of each merged one, by its base offset."""

    def __init__(self) -> None:
        self.sources: dict[int, Batch] = {}
        self.merged = 0  # source batches so far

    def found(self, fetched: Fetched, start: int) -> list[Found]:
        """What `judged` tells of what was fetched, small batches from offset `start` on merged."""
        view = fetched.data
        if fetched.aborted or len(view) < _LEAST * HEADER_BYTES or not _is_small(view, 0):
            return judged(fetched)
        self.sources.clear()
        found: list[Found] = []
        data, at, kept_from = bytes(view), 0, 0
        while len(data) - at >= HEADER_BYTES:
            run = self._run(data, at, start)
            if run is None:
                size = 12 + int.from_bytes(data[at + 8 : at + 12], "big", signed=True)
                if size < HEADER_BYTES:  # damaged, or old: `judged` says how
                    break
                at += size
                continue
            if kept_from < at:
                found += judged(fetched._replace(data=view[kept_from:at]))
            found.append(Found(run.batch, is_data=True))
            self.merged += run.count
            at = kept_from = run.end
        return found + judged(fetched._replace(data=view[kept_from:]))

    def _run(self, data: bytes, at: int, start: int) -> _Run | None:
        if not _is_small(data, at) or int.from_bytes(data[at : at + 8], "big", signed=True) < start:
            return None
        run = _singles(data, at)
        if run is None or run.count < _LEAST:
            run = _several(data, at)
        if run is None or run.count < _LEAST:
            return None
        (last,) = batches(memoryview(data)[run.last : run.end])
        self.sources[run.batch.base_offset] = last
        return run


def _is_small(data: bytes | memoryview, at: int) -> bool:
    _, length, magic, _, attributes, delta, _, count = _HEAD.unpack_from(data, at)
    return bool(
        magic == 2 and 0 < count <= FEW and delta == count - 1 and attributes in _WRITTEN and length < MERGED_BYTES
    )


def _singles(data: bytes, at: int) -> _Run | None:
    """Merge batches of one record each, the commonest, without looking into the record."""
    unpack, most, small, timed, crc_of = _HEAD.unpack_from, len(data) - HEADER_BYTES, SMALL, _TIMED, checksum
    first_base, _, _, _, codec, _, first_ms, _ = unpack(data, at)
    newest_ms, index, last, full = first_ms, 0, at, at + MERGED_BYTES
    parts: list[bytes] = []
    append = parts.append
    while at < most and at < full and index < len(small):
        base, length, magic, crc, attributes, delta, stamp, count = unpack(data, at)
        end = at + 12 + length
        if base != first_base + index or count != 1 or (magic ^ 2 | attributes ^ codec | delta):
            break
        if end > most + HEADER_BYTES or crc_of(data[at + _CRC_START : end]) != crc:
            break
        if codec:
            body = inflate_small(codec, data[at + HEADER_BYTES : end])
            inside = 1 if body[:1] < b"\x80" else 2  # behind the record's length: attributes, two deltas
            flags, rest = body[inside : inside + 3], body[inside + 3 :]
            full -= len(body) // _INFLATED
        else:
            inside = at + 62 if data[at + 61] < 128 else at + 63
            flags, rest = data[inside : inside + 3], data[inside + 3 : end]
        if flags != b"\0\0\0":
            break
        later = stamp - first_ms
        record = (timed[later] if 0 <= later < 8192 else b"\0" + varint(later)) + small[index] + rest
        size = len(record)
        append(small[size] if size < 8192 else varint(size))
        append(record)
        index += 1
        last, at = at, end
        if stamp > newest_ms:  # noqa: PLR1730  a call less for each record
            newest_ms = stamp
    if not index:
        return None
    made = encode_records(b"".join(parts), index, first_ms, newest_ms, CODECS[codec], -1, -1, -1)
    return _Run(_made(made, first_base), last, at, index)


def _several(data: bytes, at: int) -> _Run | None:
    """Merge batches of few records, compressed or not."""
    outs: list[Out] = []
    codec, following, size, count, last = -1, -1, 0, 0, at
    while len(data) - at >= HEADER_BYTES and size < MERGED_BYTES and _is_small(data, at):
        end = at + 12 + int.from_bytes(data[at + 8 : at + 12], "big")
        if end > len(data):
            break
        (batch,) = batches(memoryview(data)[at:end])
        if codec not in {-1, batch.attributes & CODEC_BITS} or following not in {-1, batch.base_offset}:
            break
        if not batch.crc_ok():
            break
        try:
            found = records(batch)
        except BadInput:
            break
        if following < 0:
            base = batch.base_offset
        codec, following = batch.attributes & CODEC_BITS, batch.last_offset + 1
        outs += [Out(each.key, each.value, each.headers, each.timestamp_ms) for each in found]
        size, count, last, at = size + end - at, count + 1, at, end
    if count < _LEAST:
        return None
    return _Run(_made(encode(outs, codec=CODECS[codec]), base), last, at, count)


def _made(data: bytearray, base_offset: int) -> Batch:
    struct.pack_into(">q", data, 0, base_offset)
    (batch,) = batches(memoryview(data))
    return batch
