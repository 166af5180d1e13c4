"""Segment files: names, headers, and how one comes into being."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct

from headwater.contract.errors import Permanent
from headwater.transport.kafka_batch.crc import checksum
from headwater.transport.spool.folder import File, Folder

HEADER = Struct("<8sIIq8x")  # magic, checksum, version, ms
NEW = ".new"
MOST_POSITION = 1 << 62
_MAGIC = b"HWSPOOL\0"
_FIELDS = Struct("<Iq8x")  # those under the checksum
_VERSION = 1
_NAME = re.compile(r"([0-9a-f]{24})\.([0-9]{19})\.([0-9]{8,18})\.spool")


@dataclass(slots=True, eq=False)
class Segment:
    """A file of the log; it holds the positions from `base` up to but not including `end`."""

    name: str
    spool: str
    base: int
    number: int
    end: int
    used: int = HEADER.size  # bytes up to the end of the last durable frame
    size: int = 0  # bytes on disk, with what is preallocated

    @property
    def salt(self) -> bytes:
        """What the checksums of this segment's frames begin with."""
        return self.name.encode()


def named(name: str) -> Segment | None:
    """The segment of that file name, or None: the file is something else."""
    match = _NAME.fullmatch(name)
    if match is None or (base := int(match[2])) > MOST_POSITION:
        return None
    return Segment(name, match[1], base, int(match[3]), base)


def created(folder: Folder, segment: Segment, allocate: int, time_ms: int) -> File:
    """Make the segment's file durable under its name, empty and with `allocate` bytes of room; raises OSError."""
    file = folder.create(segment.name + NEW)
    try:
        file.allocate(allocate)
        file.write_at([_header(segment, time_ms)], 0)
        file.sync()
        folder.rename(segment.name + NEW, segment.name)
        folder.sync()
    except OSError:
        file.close()
        for name in (segment.name + NEW, segment.name):
            with suppress(OSError):  # the next start removes it; the first error says more
                folder.unlink(name)
        raise
    segment.size = allocate
    return file


def of(spool: str, base: int, number: int) -> Segment:
    """A segment that does not exist yet."""
    return Segment(f"{spool}.{base:019d}.{number:08d}.spool", spool, base, number, base)


def _header(segment: Segment, time_ms: int) -> bytes:
    fields = _FIELDS.pack(_VERSION, time_ms)
    return _MAGIC + checksum(segment.salt + fields).to_bytes(4, "little") + fields


def check_version(data: bytes, segment: Segment) -> None:
    """Raises Permanent for a version that is not ours; a damaged header says nothing, the frames have checksums."""
    if len(data) < HEADER.size or not data.startswith(_MAGIC):
        return
    _, crc, version, _ = HEADER.unpack_from(data)
    if version != _VERSION and crc == checksum(segment.salt + data[12 : HEADER.size]):
        raise Permanent(
            f"{segment.name} is a segment of version {version}; this Headwater reads version {_VERSION}",
            hint="drain it with the Headwater that wrote it",
        )
