"""Frames: records of one append as bytes, and back. Layout: headwater/transport/spool/__init__.py."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from struct import Struct
from typing import NamedTuple, cast

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.crc import checksum

Record = tuple[int, *tuple[bytes, ...]]  # position, then the parts

Row = Sequence[bytes] | bytes  # a record to append: its parts, or one

MAGIC = b"\xabHWF"
HEAD = Struct("<4sIIIqqqIHBx")
_FIELDS = Struct("<IIqqqIHBx")  # those under the checksum
_MIXED = 0xFFFF
_MOST_BYTES = (1 << 31) - 1


@dataclass(slots=True)
class Pending:
    """Records of one append on their way to the disk."""

    position: int
    records: int
    width: int
    code: int
    time_ms: int
    body: bytes
    body_crc: int
    allocate: int = 0  # bytes of the segment that it starts; 0: the segment of the frame before it

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return HEAD.size + len(self.body)

    @property
    def end(self) -> int:
        """The position after the last record."""
        return self.position + self.records

    def head(self, salt: bytes, durable: int) -> bytes:
        """The frame's head in the segment of that name; every position below `durable` is synced."""
        body_bytes = len(self.body)
        fields = _FIELDS.pack(
            self.body_crc, body_bytes, self.position, durable, self.time_ms, self.records, self.width, self.code
        )
        return MAGIC + checksum(salt + fields).to_bytes(4, "little") + fields


class Head(NamedTuple):
    """What a frame says about itself; its own checksum was right."""

    body_crc: int
    body_bytes: int
    position: int
    durable: int
    time_ms: int
    records: int
    width: int
    code: int

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return HEAD.size + self.body_bytes

    @property
    def end(self) -> int:
        """The position after the last record."""
        return self.position + self.records


def mark(position: int, time_ms: int) -> Pending:
    """A frame without records, which vouches for all before it."""
    return Pending(position, 0, 0, 2, time_ms, b"", checksum(b""))


def pack(records: Sequence[Row], position: int, time_ms: int) -> Pending:
    """One frame of them; raises BadInput above 2 GiB."""
    parts, widths = _flattened(records)
    lengths = list(map(len, parts))
    if sum(lengths) > _MOST_BYTES:
        raise BadInput(f"spool: {sum(lengths)} bytes at once; at most {_MOST_BYTES} are taken")
    width = widths[0] if len(set(widths)) == 1 and widths[0] < _MIXED else _MIXED
    try:
        index = array("H", lengths)
    except OverflowError:
        index = array("I", lengths)
    code = index.itemsize
    ahead = [_little(array("I", widths))] if width == _MIXED else []
    body = b"".join([*ahead, _little(index), *parts])
    return Pending(position, len(records), width, code, time_ms, body, checksum(body))


def _flattened(records: Sequence[Row]) -> tuple[Sequence[bytes], Sequence[int]]:
    """All parts of all records, and the number of parts of each record (of one, where all have the same)."""
    kinds = set(map(type, records))
    if kinds == {bytes}:
        return cast("Sequence[bytes]", records), (1,)
    rows = records if bytes not in kinds else [(row,) if isinstance(row, bytes) else row for row in records]
    return list(chain.from_iterable(cast("Sequence[Sequence[bytes]]", rows))), list(map(len, rows))


def _little(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(code: str, data: bytes) -> array[int]:
    numbers = array(code, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def parse_head(data: bytes, salt: bytes) -> Head | None:
    """The head at the start of `data`, or None if there is no whole one of the segment of that name."""
    if len(data) < HEAD.size or data[:4] != MAGIC:
        return None
    if checksum(salt + data[8 : HEAD.size]) != int.from_bytes(data[4:8], "little"):
        return None
    head = Head(*_FIELDS.unpack_from(data, 8))
    return head if head.code in (2, 4) and head.position >= 0 else None


def intact(head: Head, body: bytes) -> bool:
    """Whether these bytes are the body."""
    return len(body) == head.body_bytes and checksum(body) == head.body_crc


def unpack(head: Head, body: bytes) -> list[Record]:
    """The records of an intact body."""
    positions = range(head.position, head.end)
    start, widths = 0, None
    if head.width == _MIXED:
        start = 4 * head.records
        widths = _numbers("I", body[:start])
    in_all = sum(widths) if widths is not None else head.width * head.records
    stop = start + head.code * in_all
    ends = list(accumulate(_numbers("H" if head.code == 2 else "I", body[start:stop]), initial=stop))
    parts = [body[begin:end] for begin, end in pairwise(ends)]
    if widths is None:
        columns = [parts[column :: head.width] for column in range(head.width)]
        return list(zip(positions, *columns, strict=True))
    bounds = list(accumulate(widths, initial=0))
    rows = zip(positions, pairwise(bounds), strict=True)
    return [(position, *parts[begin:end]) for position, (begin, end) in rows]
