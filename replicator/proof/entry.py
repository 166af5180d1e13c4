"""An entry of the manifest: what a range of target offsets held when it was shipped, chained to the entry before.

Topic `<site>.manifest.internal`, key `<topic>/<partition>/<first target offset>`, value canonical JSON. An entry covers
whole batches. Its cells cover 32 KiB of them each (a larger batch has one of its own), ten bytes a cell, big-endian:
uint16 batches, with the highest bit set where each is one batch of the source; uint32 records; uint32 fold.

The stamp of a batch is the CRC-32C of what survives the way: count, codec, base and max timestamp, length and CRC-32C
of its records section. It comes from the header alone (the last by linearity, crc.py), so both sides of a link have it,
whatever producer and offsets they know. The fold of a cell goes over its stamps s in order: f ← (f·B + s + 1) mod P.

`before` is the chain up to the entry before: SHA-256 of its canonical JSON, 32 hex digits. Entries are read in the
order of the log; one that begins at offset a replaces all before it that reach beyond a: a life that ended before it
could note where its chain had got to does the last entry again, and a target that was restored is shipped to again.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.transport.kafka_batch.batches import CODEC_BITS, CRC_START, HEADER, HEADER_BYTES, Batch
from headwater.transport.kafka_batch.crc import checksum, tail_checksum
from headwater.transport.kafka_batch.wire import Buffer

PRIME = 4_294_967_291  # the largest below 2^32
BASE = 2_654_435_761
CELL_BYTES = 32 << 10
ENTRY_BYTES = 4 << 20
SHIPPED = "shipped"  # stamps of what was sent and acknowledged
COMPARED = "compared"  # read back from the target and compared with the source
READ = "read"  # read back only: the source had deleted it

_STAMP = struct.Struct(">iBqqiI")
_CELL = struct.Struct(">HII")
_EXACT = 0x8000


def stamp_of(head: Buffer, size: int) -> int:
    """Stamp of a batch of `size` bytes, of which `head` are the first 61."""
    _, _, _, _, crc, attributes, _, first, last, _, _, _, count = HEADER.unpack_from(head)
    section = size - HEADER_BYTES
    tail = tail_checksum(crc, bytes(head[CRC_START:HEADER_BYTES]), section)
    return checksum(_STAMP.pack(count, attributes & CODEC_BITS, first, last, section, tail))


def stamp_with(batch: Batch, tail: int) -> int:
    """Stamp of a batch whose records have the CRC-32C `tail`."""
    codec, section = batch.attributes & CODEC_BITS, len(batch.raw) - HEADER_BYTES
    return checksum(_STAMP.pack(batch.count, codec, batch.base_timestamp, batch.max_timestamp, section, tail))


def folded(fold: int, stamp: int) -> int:
    """The fold with one more stamp."""
    return (fold * BASE + stamp + 1) % PRIME


class Cell(NamedTuple):
    """Some batches that follow each other. `exact`: each is one batch of the source."""

    batches: int
    records: int
    fold: int
    exact: bool


def pack(cells: Iterable[Cell]) -> str:
    """Cells as text."""
    raw = b"".join(_CELL.pack(c.batches | (_EXACT if c.exact else 0), c.records, c.fold) for c in cells)
    return base64.b64encode(raw).decode()


def unpack(text: str) -> list[Cell]:
    """Cells of an entry; ValueError for anything else."""
    raw = base64.b64decode(text, validate=True)
    try:
        found = list(_CELL.iter_unpack(raw))
    except struct.error as error:
        raise ValueError(str(error)) from error
    return [Cell(b & ~_EXACT, records, fold, bool(b & _EXACT)) for b, records, fold in found]


class Entry(msgspec.Struct, frozen=True):
    """See the module. Ranges are [first, next); `bytes` of the batches at the target; `sha256` of the records or empty.

    The source range holds, besides the records, markers and aborted data, which are not shipped.
    """

    era: int
    source: tuple[int, int]
    target: tuple[int, int]
    batches: int
    bytes: int
    cells: str
    seen: str
    before: str
    at: int
    sha256: str = ""
    v: int = 1

    @property
    def records(self) -> int:
        """How many records it covers."""
        return self.target[1] - self.target[0]


def chain_of(entry: Entry) -> str:
    """The chain up to and with an entry."""
    return hashlib.sha256(canonical_json(entry)).hexdigest()[:32]


class Head(msgspec.Struct, frozen=True):
    """Up to where a partition is proven, in the positions topic at `proof/<topic>/<partition>`."""

    era: int
    source_next: int
    target_next: int
    chain: str
    at: int
    v: int = 1


def entry_key(topic: str, partition: int, first: int) -> bytes:
    """Key of an entry."""
    return f"{topic}/{partition}/{first}".encode()


def head_after(entry: Entry) -> Head:
    """The head once an entry is durable."""
    return Head(entry.era, entry.source[1], entry.target[1], chain_of(entry), entry.at)


HEAD_PREFIX = b"proof/"


def head_key(topic: str, partition: int) -> bytes:
    """Key of a head in the positions topic."""
    return HEAD_PREFIX + f"{topic}/{partition}".encode()
