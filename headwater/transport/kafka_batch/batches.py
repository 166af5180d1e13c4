"""Record batches, version 2 (kafka.apache.org/documentation, "Record Batch"; DefaultRecordBatch.java).

Offset: size of the header: 0:8 base offset, 8:4 length of what follows, 12:4 leader epoch, 16:1 magic (2), 17:4 CRC-32C
of everything from 21, 21:2 attributes (bits 0-2 codec, 3 append time, 4 transactional, 5 control, 6 delete horizon),
23:4 last offset delta, 27:8 base timestamp, 35:8 max timestamp, 43:8 producer id, 51:2 producer epoch, 53:4 base
sequence, 57:4 count, 61 records. Base offset, length, leader epoch and magic are outside the checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.compression import CODECS, Codec
from headwater.transport.kafka_batch.crc import checksum, joined, tail_checksum

HEADER_BYTES = 61
CRC_START = 21
HEADER = struct.Struct(">qiibIhiqqqhii")
_SMALLEST = 26  # an empty message of version 0
_LENGTH_START = 12  # the length field does not count itself and the base offset
_FRONT = struct.Struct(">qiib")
_STAMP = struct.Struct(">qiibI")
_BEHIND_CRC = struct.Struct(">hiqqqhii")

CODEC_BITS = 0x07
APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20


class Batch(NamedTuple):
    """The header of a batch and its bytes. Offsets are of the log it was read from; timestamps in ms since 1970."""

    base_offset: int
    last_offset: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count
    attributes: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    base_timestamp: int
    max_timestamp: int
    crc: int
    raw: memoryview

    @property
    def codec(self) -> Codec:
        """How the records are compressed; BadInput for a number that Kafka does not define."""
        number = self.attributes & CODEC_BITS
        if number >= len(CODECS):
            raise BadInput(f"the batch at offset {self.base_offset} has unknown codec {number}")
        return CODECS[number]

    @property
    def is_control(self) -> bool:
        """Whether it holds a transaction's marker and no data."""
        return bool(self.attributes & CONTROL_BIT)

    @property
    def is_transactional(self) -> bool:
        """Whether it belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_append_time(self) -> bool:
        """Whether every record counts as written at `max_timestamp` (LogAppendTime)."""
        return bool(self.attributes & APPEND_TIME_BIT)

    def crc_ok(self) -> bool:
        """Whether the bytes are those that were written (one pass over them)."""
        return checksum(self.raw[CRC_START:]) == self.crc

    def is_abort(self) -> bool:
        """Whether a control batch aborts its transaction (control key: int16 version, int16 type, 0 for abort)."""
        return self.is_control and bytes(self.raw[HEADER_BYTES:])[_CONTROL_TYPE] == b"\0\0"


_CONTROL_TYPE = slice(7, 9)  # length, attributes, two deltas, key length: a byte each; then the key's version


def batches(view: memoryview) -> Iterator[Batch]:
    """Yield the batches of a fetched view; one cut short at the end is dropped. BadInput: newer than version 2.

    Older messages come as batches made of them (old_formats.py).
    """
    at, end, unpack = 0, len(view), HEADER.unpack_from
    while end - at >= HEADER_BYTES:
        fields = unpack(view, at)
        size = fields[1] + _LENGTH_START
        if fields[3] != 2 or size < HEADER_BYTES:
            yield from _others(view, at)
            return
        if at + size > end:
            return
        yield _batch(fields, view[at : at + size])
        at += size
    if at < end:
        yield from _others(view, at)


def _others(view: memoryview, at: int) -> Iterator[Batch]:
    """As `batches`, from one on that is older, damaged, or shorter than a header of version 2."""
    end = len(view)
    while end - at >= _SMALLEST:
        base_offset, length, _epoch, magic = _FRONT.unpack_from(view, at)
        size = length + _LENGTH_START
        if 0 <= magic < 2 and size >= _SMALLEST:
            if at + size > end:
                return
            yield from _modern(view[at : at + size])
            at += size
            continue
        if magic != 2:
            raise BadInput(
                f"the batch at offset {base_offset} has format version {magic}, expected 2",
                hint="update this program, if the format is new; else the log is damaged there",
            )
        if size < HEADER_BYTES:
            raise BadInput(f"the batch at offset {base_offset} claims {length} bytes, fewer than its header")
        if at + size > end:
            return
        yield _batch(HEADER.unpack_from(view, at), view[at : at + size])
        at += size


def first_and_last(view: memoryview) -> tuple[Batch, Batch] | None:
    """The outer batches of a fetched view, passing over those between; None if there is none. Raises as `batches`."""
    at, end, last_at, last_end = 0, len(view), -1, 0
    while end - at >= HEADER_BYTES:
        _, length, _epoch, magic = _FRONT.unpack_from(view, at)
        size = length + _LENGTH_START
        if magic != 2 or size < HEADER_BYTES:
            found = list(batches(view))  # old, or damaged
            return (found[0], found[-1]) if found else None
        if at + size > end:
            break
        last_at, last_end = at, at + size
        at = last_end
    if last_at < 0:
        return None
    last = _batch(HEADER.unpack_from(view, last_at), view[last_at:last_end])
    return (next(batches(view)) if last_at else last), last


def whole_bytes(view: memoryview) -> int:
    """Bytes of the batches of version 2 in front of something that `batches` refuses."""
    at = 0
    try:
        for batch in batches(view):
            if batch.raw.obj is not view.obj:  # made of an old message
                break
            at += len(batch.raw)
    except BadInput:
        pass
    return at


def _modern(raw: memoryview) -> list[Batch]:
    from headwater.transport.kafka_batch import old_formats  # noqa: PLC0415  # it builds on this module; rarely needed

    return old_formats.modern(raw)


def _batch(fields: tuple[int, ...], raw: memoryview) -> Batch:
    base, _length, _leader, _magic, crc, attributes, delta, first, last, pid, epoch, sequence, count = fields
    if base < 0:
        raise BadInput(f"a batch at offset {base}")
    if delta < 0 or count < 0:  # the checksum covers both: whoever checks it learns that the batch is corrupt
        delta = count = 0
    return Batch(base, base + delta, count, attributes, pid, epoch, sequence, first, last, crc, raw)


def restamp(batch: Batch, *, producer_id: int, epoch: int, sequence: int) -> bytearray:
    """Copy a batch under another producer's name, records untouched; see `restamped_head`."""
    out = bytearray(batch.raw)
    out[:HEADER_BYTES], _ = restamped_head(batch, producer_id, epoch, sequence)
    return out


def restamped_head(batch: Batch, producer_id: int, epoch: int, sequence: int) -> tuple[bytes, int]:
    """The first 61 bytes of a batch under another producer's name, and the CRC-32C of what follows, its records.

    Base offset becomes 0, leader epoch -1; of the attributes only the codec stays (append-time, transaction and delete
    horizon bits mean nothing elsewhere). The checksum is carried over (crc.py), so that a batch that was corrupt before
    is refused by the next broker too.
    """
    size = len(batch.raw)
    section = size - HEADER_BYTES
    new_head = _BEHIND_CRC.pack(
        batch.attributes & CODEC_BITS,
        batch.last_offset - batch.base_offset,
        batch.base_timestamp,
        batch.max_timestamp,
        producer_id,
        epoch,
        sequence,
        batch.count,
    )
    tail = tail_checksum(batch.crc, batch.raw[CRC_START:HEADER_BYTES], section)
    return _STAMP.pack(0, size - _LENGTH_START, -1, 2, joined(new_head, tail, section)) + new_head, tail
