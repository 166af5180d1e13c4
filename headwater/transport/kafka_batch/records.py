"""The records inside a batch: reading them out, and building a batch of them.

A record: varint length, then int8 attributes (0), varlong timestamp delta, varint offset delta, varint key length and
key (-1: null), varint value length and value, varint number of headers, each varint name length, name, varint value
length, value. Varints are zigzag-encoded (Protocol Buffers encoding, "Signed Integers").
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.batches import CRC_START, HEADER, HEADER_BYTES, Batch
from headwater.transport.kafka_batch.compression import CODECS, Codec, compress, inflate
from headwater.transport.kafka_batch.crc import checksum
from headwater.transport.kafka_batch.wire import Buffer, reading

FENCE_KEY = b"hw-fence"  # see fence.py

Headers = tuple[tuple[str, bytes | None], ...]


class Record(NamedTuple):
    """A record as it was read. `timestamp_ms`: since 1970."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Out(NamedTuple):
    """A record to be written. `timestamp_ms`: since 1970."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


def records(batch: Batch) -> list[Record]:
    """Read the records of a batch (the markers of a control batch too); BadInput if they are malformed."""
    with reading(f"the batch at offset {batch.base_offset}"):
        data = bytes(inflate(batch.attributes & 7, batch.raw[HEADER_BYTES:]))
        found: list[Record] = []
        at = 0
        stamp = batch.max_timestamp if batch.is_append_time else None
        for _ in range(batch.count):
            size, at = varint_at(data, at)
            end = at + size
            if size < 0 or end > len(data):
                raise IndexError(f"a record of {size} bytes at {at} of {len(data)}")
            found.append(record_at(data, at, end, batch, stamp))
            at = end
        if at != len(data):
            raise IndexError(f"{len(data) - at} bytes behind the last record")
        return found


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    """Value and next position; IndexError beyond the end or above ten bytes."""
    byte = data[at]
    at += 1
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at
    value, shift = byte & 127, 7
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise IndexError("a varint of more than ten bytes")


def _blob(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    byte = data[at]
    if byte < 128:  # nearly all are below 64 bytes; a call less
        size, at = (byte >> 1) ^ -(byte & 1), at + 1
    else:
        size, at = varint_at(data, at)
    if size < 0:
        return None, at
    behind = at + size
    if behind > end:
        raise IndexError(f"{size} bytes at {at} of a record that ends at {end}")
    return data[at:behind], behind


@lru_cache(maxsize=1024)
def _name(raw: bytes | None) -> str:
    return str(raw or b"", "utf-8")


def record_at(data: bytes, at: int, end: int, batch: Batch, stamp: int | None) -> Record:
    """One record between two places of the records of a batch, behind its length."""
    time_delta, at = varint_at(data, at + 1)
    offset_delta, at = varint_at(data, at)
    key, at = _blob(data, at, end)
    value, at = _blob(data, at, end)
    count, at = varint_at(data, at)
    headers: Headers = ()
    if count:
        found = []
        for _ in range(count):
            name, at = _blob(data, at, end)
            content, at = _blob(data, at, end)
            found.append((_name(name), content))
        headers = tuple(found)
    if at != end or count < 0:
        raise IndexError(f"a record that should end at {end} ends at {at}")
    offset = batch.base_offset + offset_delta
    return Record(offset, batch.base_timestamp + time_delta if stamp is None else stamp, key, value, headers)


def _zigzag(value: int) -> bytes:
    value = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


SMALL = tuple(_zigzag(value) for value in range(8192))  # every varint of one or two bytes; the loop below lives on it


def varint(value: int) -> bytes:
    """A number as records have it."""
    return SMALL[value] if 0 <= value < 8192 else _zigzag(value)


@lru_cache(maxsize=4096)
def key_block(key: bytes | None) -> bytes:
    """A key as records have it, with its length."""
    return b"\x01" if key is None else varint(len(key)) + key


@lru_cache(maxsize=1024)
def _header_name(name: str) -> bytes:
    raw = name.encode()
    return varint(len(raw)) + raw


def header_blocks(headers: Headers) -> bytes:
    """Headers as records have them, without their number in front."""
    parts = []
    for name, content in headers:
        parts.append(_header_name(name))
        if content is None:
            parts.append(b"\x01")
        else:
            parts += (varint(len(content)), content)
    return b"".join(parts)


def _section(outs: Sequence[Out], base_timestamp: int) -> bytes:
    parts: list[bytes] = []
    for index, (key, value, headers, timestamp_ms) in enumerate(outs):
        head = b"\0" + varint(timestamp_ms - base_timestamp) + varint(index) + key_block(key)
        tail = varint(len(headers)) + header_blocks(headers) if headers else b"\0"
        if value is None:
            parts += (varint(len(head) + 1 + len(tail)), head, b"\x01", tail)
        else:
            size = varint(len(value))
            parts += (varint(len(head) + len(size) + len(value) + len(tail)), head, size, value, tail)
    return b"".join(parts)


def encode(
    outs: Sequence[Out], *, codec: Codec = "none", producer_id: int = -1, epoch: int = -1, sequence: int = -1
) -> bytearray:
    """Build a batch as a broker accepts it; BadInput if there is no record.

    The defaults make a batch without idempotence. `sequence` counts the producer's records in the partition.
    """
    if not outs:
        raise BadInput("a batch without records")
    base_timestamp = outs[0].timestamp_ms
    newest = max(each.timestamp_ms for each in outs)
    data = _section(outs, base_timestamp)
    return encode_records(data, len(outs), base_timestamp, newest, codec, producer_id, epoch, sequence)


def encode_records(
    data: Buffer,
    count: int,
    base_timestamp: int,
    newest: int,
    codec: Codec,
    producer_id: int,
    epoch: int,
    sequence: int,
) -> bytearray:
    """As `encode`, of records that are encoded already (section.py)."""
    section = compress(codec, data)
    out = bytearray(HEADER_BYTES + len(section))
    out[HEADER_BYTES:] = section
    front = (0, len(out) - 12, -1, 2, 0, CODECS.index(codec), count - 1)
    try:
        HEADER.pack_into(out, 0, *front, base_timestamp, newest, producer_id, epoch, sequence, count)
    except struct.error as error:
        raise BadInput(f"a batch whose header does not fit (timestamp {base_timestamp}): {error}") from error
    struct.pack_into(">I", out, 17, checksum(memoryview(out)[CRC_START:]))
    return out


def encoded_bytes(out: Out) -> int:
    """Upper bound of the uncompressed size of one record, in bytes."""
    headers = sum(10 + 4 * len(name) + len(content or b"") for name, content in out.headers)
    return 40 + len(out.key or b"") + len(out.value or b"") + headers
