"""What a start finds: leftovers removed, the last segment cut after its last whole record, all of it durable."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import structlog

from headwater.contract.errors import Permanent
from headwater.transport.spool.folder import Folder
from headwater.transport.spool.frames import intact
from headwater.transport.spool.scan import Window
from headwater.transport.spool.segments import HEADER, MOST_POSITION, NEW, Segment, check_version, created, named, of

_log = structlog.get_logger(__name__)
_PIECE = 256 << 10
_TORN = (
    "a write that a power failure cut short looks like this, and costs nothing: MQTT was not acknowledged. Without one "
    "the disk has lost what it had confirmed, and messages from this position on with it: check the disk"
)


@dataclass(slots=True)
class Tail:
    """The end of the last segment: where it is to be cut, and what is known about the bytes before."""

    position: int
    offset: int = HEADER.size
    vouched: int = 0  # every position below was synced by the former life
    unsure: int = HEADER.size  # offset from which nothing vouches for the bytes
    damaged: list[int] = field(default_factory=list)  # first positions of gaps


def recovered(folder: Folder, fresh_id: str, time_ms: int) -> list[Segment]:
    """The segments in order, at least one; everything in them is durable. Raises OSError, Permanent."""
    segments = _listed(folder)
    if not segments:
        first = of(fresh_id, 0, 1)
        created(folder, first, HEADER.size, time_ms).close()
        first.size = HEADER.size
        return [first]
    for segment, after in pairwise(segments):
        segment.end = after.base
        _measure(folder, segment)
    _settle(folder, segments[-1])
    return segments


def _listed(folder: Folder) -> list[Segment]:
    """Segments by position; unfinished ones and those without a durable record are removed."""
    segments = []
    for name in folder.names():
        if name.endswith(NEW) and named(name.removesuffix(NEW)):
            folder.unlink(name)
        elif (segment := named(name)) is not None:
            segments.append(segment)
    if len({segment.spool for segment in segments}) > 1:
        raise Permanent(
            f"{folder.path} holds segments of several spools: {sorted({segment.spool for segment in segments})}",
            hint="one spool a folder: move the files of the other one away",
        )
    segments.sort(key=lambda segment: (segment.base, segment.number))
    kept: list[Segment] = []
    for segment in segments:
        if kept and kept[-1].base == segment.base:
            folder.unlink(kept.pop().name)
        kept.append(segment)
    return kept


def _measure(folder: Folder, segment: Segment) -> None:
    file = folder.open(segment.name)
    try:
        segment.used = segment.size = file.size()
        check_version(file.read_at(0, HEADER.size), segment)
    finally:
        file.close()


def _settle(folder: Folder, segment: Segment) -> None:
    """Cut the last segment and make the rest of it durable."""
    file = folder.open(segment.name)
    try:
        size = file.size()
        check_version(file.read_at(0, HEADER.size), segment)
        window = Window(file, segment.salt)
        window.limit = size
        tail = _tail(window, segment.base)
        if size > tail.offset:
            _report(folder, segment, tail, _torn_bytes(window, tail.offset))
            file.truncate(tail.offset)
        if tail.offset > tail.unsure:
            file.write_at([file.read_at(tail.unsure, tail.offset - tail.unsure)], tail.unsure)
        if size > tail.offset or tail.offset > tail.unsure:
            file.sync()
    finally:
        with suppress(OSError):  # everything was synced, or the first error says more
            file.close()
    segment.end = tail.position
    segment.used = segment.size = min(tail.offset, size)


def _tail(window: Window, base: int) -> Tail:
    """Walk over the frames; damage that no later frame vouches for is where the log ends."""
    tail = Tail(base, vouched=base)
    offset, expected = HEADER.size, base
    torn: list[tuple[int, int]] = []  # positions and offsets of damage that may be a torn write
    while (found := window.frame(offset, expected, MOST_POSITION)) is not None:
        place, head = found
        if place > offset or head.position > expected:
            torn.append((expected, offset))
        if head.durable > tail.vouched:
            tail.vouched = min(head.durable, head.position)
            tail.damaged += [position for position, _ in torn if position < tail.vouched]
            torn = [hole for hole in torn if hole[0] >= tail.vouched]
        if head.durable >= head.position and not torn:
            tail.unsure = place if head.records else place + head.size
        offset, expected = place + head.size, head.end
        if not intact(head, window.body(place, head)):
            torn.append((head.position, place))
    tail.position, tail.offset = torn[0] if torn else (expected, offset)
    tail.unsure = min(tail.unsure, tail.offset)
    return tail


def _torn_bytes(window: Window, offset: int) -> int:
    """Zeros behind the end were preallocated; anything else was on its way when the power went."""
    torn = 0
    for place in range(offset, window.limit, _PIECE):
        if length := len(window.at(place, _PIECE).rstrip(b"\0")):
            torn = place + length - offset
    return torn


def _report(folder: Folder, segment: Segment, tail: Tail, torn: int) -> None:
    if torn:
        _log.warning(
            "spool: what follows the last whole record is cut off",
            folder=str(folder.path), segment=segment.name, position=tail.position, torn_bytes=torn, hint=_TORN,
        )  # fmt: skip
    if tail.damaged:
        _log.warning("spool: damaged records", folder=str(folder.path), segment=segment.name, at=tail.damaged)
