"""Messages of formats 0 and 1, as they stand in logs that are older than Kafka 0.11: read as batches of version 2.

Layout: kafka.apache.org/documentation (0.10.2), "Messages"; LegacyRecord.java and AbstractLegacyRecordBatch.java. An
entry: int64 offset, int32 size of what follows, CRC-32 of everything behind it, int8 magic, int8 attributes (bits 0-2
codec, 3 append time), in format 1 int64 timestamp, then key and value, each with an int32 length. An entry with a codec
holds entries in its value: its offset is that of the last of them; in format 1 theirs count from 0.

Kafka 4 writes such messages no more (KIP-724) but still serves them. What is made of one here keeps its offsets; its
checksum is new. Where the entry's own one does not hold, the new one does not hold either.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.batches import Batch, batches
from headwater.transport.kafka_batch.compression import inflate
from headwater.transport.kafka_batch.records import Out, encode
from headwater.transport.kafka_batch.wire import reading

_ENTRY = struct.Struct(">qiIbb")
_CRC_START = 16
_TIMESTAMP = struct.Struct(">q")
_LENGTH = struct.Struct(">i")
_CODEC_BITS = 0x07
_APPEND_TIME_BIT = 0x08
_NO_TIMESTAMP = -1
_NEW_CRC = 17


class Message(NamedTuple):
    """One message. `timestamp_ms` is -1 in format 0, which has none."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class _Entry(NamedTuple):
    offset: int
    magic: int
    attributes: int
    message: Message


def modern(raw: memoryview) -> list[Batch]:
    """Batches of version 2 with the messages of one entry: several where compaction has left holes between them."""
    offset, _size, crc, _magic, _attributes = _ENTRY.unpack_from(raw)
    sound = zlib.crc32(raw[_CRC_START:]) == crc
    try:
        with reading(f"the message at offset {offset}"):
            found = _unpacked(_entry(raw))
    except BadInput:
        found, sound = [Message(offset, _NO_TIMESTAMP, None, None)], False
    runs: list[list[Message]] = []
    for message in found:
        if not runs or message.offset != runs[-1][-1].offset + 1:
            runs.append([])
        runs[-1].append(message)
    return [_batch(run, sound=sound) for run in runs]


def _batch(run: list[Message], *, sound: bool) -> Batch:
    data = encode([Out(message.key, message.value, (), message.timestamp_ms) for message in run])
    struct.pack_into(">q", data, 0, max(run[0].offset, 0))
    if not sound:
        data[_NEW_CRC] ^= 0xFF
    return next(batches(memoryview(data)))


def _entry(raw: memoryview) -> _Entry:
    offset, _size, _crc, magic, attributes = _ENTRY.unpack_from(raw)
    at = _ENTRY.size
    stamp = _NO_TIMESTAMP
    if magic == 1:
        (stamp,) = _TIMESTAMP.unpack_from(raw, at)
        at += _TIMESTAMP.size
    key, at = _blob(raw, at)
    value, at = _blob(raw, at)
    return _Entry(offset, magic, attributes, Message(offset, stamp, key, value))


def _blob(raw: memoryview, at: int) -> tuple[bytes | None, int]:
    (size,) = _LENGTH.unpack_from(raw, at)
    at += _LENGTH.size
    if size < 0:
        return None, at
    if at + size > len(raw):
        raise IndexError(f"{size} bytes at {at} of {len(raw)}")
    return bytes(raw[at : at + size]), at + size


def _unpacked(outer: _Entry) -> list[Message]:
    codec = outer.attributes & _CODEC_BITS
    if not codec:
        return [outer.message]
    inner = [
        _entry(raw).message for raw in _entries(memoryview(inflate(codec, memoryview(outer.message.value or b""))))
    ]
    shift = outer.offset - inner[-1].offset if outer.magic == 1 and inner else 0
    stamp = outer.message.timestamp_ms if outer.attributes & _APPEND_TIME_BIT else None
    return [
        message._replace(offset=message.offset + shift, timestamp_ms=message.timestamp_ms if stamp is None else stamp)
        for message in inner
    ]


def _entries(view: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(view):
        _offset, size = struct.unpack_from(">qi", view, at)
        end = at + 12 + size
        if size < 0 or end > len(view):
            raise IndexError(f"a message of {size} bytes at {at} of {len(view)}")
        yield view[at:end]
        at = end
