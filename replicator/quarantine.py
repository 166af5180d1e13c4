"""Records that the target does not take, and what stands there in their place.

A record is replaced, never left out: the numbers of the records behind it, and so sequences, offsets and the anchor,
stay as they are (docs/adr/replicator-quarantine.md). What stands for it carries these headers behind its own:

| header | value |
|---|---|
| hw-quarantine | reasons, joined by `+` |
| hw-source-offset | its offset at the source, int64 |
| hw-source-time | its own timestamp in ms, int64 |
| hw-source-bytes | bytes of its key, value and headers, int64 |
| hw-source-digest | SHA-256 of the record (fingerprint.py), 32 bytes |

| reason | key | value and headers | time |
|---|---|---|---|
| timestamp | kept | kept | when it was shipped |
| keyless | `<topic>/<partition>/<offset>` | kept | kept |
| too-large | kept up to 256 bytes, as for keyless in a compacted topic | none | kept |
| refused | as for keyless | none | when it was shipped |
"""

from __future__ import annotations

from collections.abc import Collection

from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Out, Record
from replicator import fingerprint
from replicator.way import Way

TIMESTAMP = "timestamp"
KEYLESS = "keyless"
TOO_LARGE = "too-large"
REFUSED = "refused"
REASONS = (TIMESTAMP, KEYLESS, TOO_LARGE, REFUSED)

_KEPT_KEY_BYTES = 256


def stand_in(record: Record, reasons: Collection[str], way: Way, now_ms: int, *, compacted: bool = False) -> Out:
    """Build what stands for a record; see the table above."""
    said = "+".join(reason for reason in REASONS if reason in reasons)
    added = (
        (headers.QUARANTINE, headers.text(said)),
        (headers.SOURCE_OFFSET, headers.number(record.offset)),
        (headers.SOURCE_TIME, headers.number(record.timestamp_ms)),
        (headers.SOURCE_BYTES, headers.number(size(record))),
        (headers.SOURCE_DIGEST, fingerprint.digest(record)),
    )
    emptied = TOO_LARGE in reasons or REFUSED in reasons
    unusable = len(record.key or b"") > _KEPT_KEY_BYTES or compacted
    renamed = KEYLESS in reasons or REFUSED in reasons or (TOO_LARGE in reasons and unusable)
    return Out(
        f"{way.topic}/{way.partition}/{record.offset}".encode() if renamed else record.key,
        None if emptied else record.value,
        added if emptied else (*record.headers, *added),
        now_ms if TIMESTAMP in reasons or REFUSED in reasons else record.timestamp_ms,
    )


def size(record: Record) -> int:
    """Bytes of a record's key, value and headers."""
    named = sum(len(name.encode()) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + named


def same(there: Record, here: Record) -> bool:
    """Whether a record of the target is that of the source, or stands for it."""
    return there[1:] == here[1:] or stands_for(there, here)


def stands_for(there: Record, here: Record) -> bool:
    """Whether a record of the target stands for one of the source: its offset, and its digest."""
    if headers.find(there.headers, headers.QUARANTINE) is None:
        return False
    return headers.find(there.headers, headers.SOURCE_OFFSET) == headers.number(here.offset) and headers.find(
        there.headers, headers.SOURCE_DIGEST
    ) == fingerprint.digest(here)


def plain(record: Record) -> Record:
    """As it was before its source offset was added behind all its headers, by the engine that goes record by record."""
    found = record.headers
    return record._replace(headers=found[:-1]) if found and found[-1][0] == headers.SOURCE_OFFSET else record


def source_offset(record: Record) -> int | None:
    """The source offset that a record of the target names, or None."""
    try:
        return headers.find_number(record.headers, headers.SOURCE_OFFSET)
    except BadInput:
        return None
