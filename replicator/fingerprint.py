"""One spelling of a record in bytes, by which two clusters are compared."""

from __future__ import annotations

import hashlib
import struct

from headwater.transport.kafka_batch import Record

_FRAME = struct.Struct(">qiii")


def canonical(record: Record) -> bytes:
    """Bytes of a record's time, key, value and headers that no other record has: lengths first, -1 for null."""
    parts = [_FRAME.pack(record.timestamp_ms, _size(record.key), _size(record.value), len(record.headers))]
    parts += [record.key or b"", record.value or b""]
    for name, value in record.headers:
        raw = name.encode()
        parts += [struct.pack(">ii", len(raw), _size(value)), raw, value or b""]
    return b"".join(parts)


def digest(record: Record) -> bytes:
    """SHA-256 of `canonical`."""
    return hashlib.sha256(canonical(record)).digest()


def _size(data: bytes | None) -> int:
    return -1 if data is None else len(data)
