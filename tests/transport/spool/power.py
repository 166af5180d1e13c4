"""A disk in memory that remembers every call, so that the power can be cut after any of them, and within.

What was not synced may be there, be missing or be there in pieces, in any order. A sync that fails loses what it was
to bring to the disk while the page cache goes on showing it, as Linux does (https://lwn.net/Articles/752063/).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from headwater.contract.errors import HeadwaterError
from headwater.transport.spool import Missing, Record, Spool

Pieces = Callable[[int], list[tuple[int, int]]]  # of so many bytes, the ranges that reached the disk


@dataclass
class Call:
    """One call: `what` is create, rename, unlink, folder (a sync of it), write, truncate, allocate or sync."""

    what: str
    file: int = 0
    name: str = ""
    new: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Memory:
    """The folder, as a process sees it."""

    files: dict[str, bytes] = field(default_factory=dict)
    path: Path = Path("/memory")
    fail: Callable[[Call], OSError | None] = lambda _: None

    def __post_init__(self) -> None:
        self.start = dict(self.files)
        self.calls: list[Call] = []
        self.entries = {name: number for number, name in enumerate(self.files, 1)}
        self.seen = {number: bytearray(self.files[name]) for name, number in self.entries.items()}
        self.ids = len(self.files)

    def call(self, call: Call) -> None:
        """Remember it, unless it fails."""
        if (error := self.fail(call)) is not None:
            if call.what == "sync":
                self.calls.append(Call("lost", call.file))
            raise error
        self.calls.append(call)

    def lock(self) -> Open:
        return Open(self, 0)

    def names(self) -> list[str]:
        return list(self.entries)

    def create(self, name: str) -> Open:
        self.ids += 1
        self.call(Call("create", self.ids, name))
        self.entries[name] = self.ids
        self.seen[self.ids] = bytearray()
        return Open(self, self.ids)

    def open(self, name: str) -> Open:
        if name not in self.entries:
            raise FileNotFoundError(2, "No such file", name)
        return Open(self, self.entries[name])

    def rename(self, old: str, new: str) -> None:
        self.call(Call("rename", name=old, new=new))
        self.entries[new] = self.entries.pop(old)

    def unlink(self, name: str) -> None:
        self.call(Call("unlink", name=name))
        self.entries.pop(name, None)

    def sync(self) -> None:
        self.call(Call("folder"))

    def now(self) -> dict[str, bytes]:
        """What a new process finds while the power stays on."""
        return {name: bytes(self.seen[number]) for name, number in self.entries.items()}


@dataclass
class Open:
    """An open file of it."""

    memory: Memory
    number: int

    def read_at(self, offset: int, size: int) -> bytes:
        return bytes(self.memory.seen[self.number][offset : offset + size])

    def write_at(self, buffers: Sequence[bytes], offset: int) -> None:
        call = Call("write", self.number, offset=offset, data=b"".join(buffers))
        self.memory.call(call)
        _apply(self.memory.seen[self.number], call)

    def allocate(self, size: int) -> None:
        self._sized(Call("allocate", self.number, offset=size))

    def truncate(self, size: int) -> None:
        self._sized(Call("truncate", self.number, offset=size))

    def size(self) -> int:
        return len(self.memory.seen[self.number])

    def sync(self) -> None:
        self.memory.call(Call("sync", self.number))

    def close(self) -> None:
        pass

    def _sized(self, call: Call) -> None:
        self.memory.call(call)
        _apply(self.memory.seen[self.number], call)


def _apply(data: bytearray, call: Call, pieces: Pieces = lambda size: [(0, size)]) -> None:
    if call.what == "write":
        for start, stop in pieces(len(call.data)):
            begin = call.offset + start
            data.extend(bytes(max(0, begin - len(data))))
            data[begin : call.offset + stop] = call.data[start:stop]
    elif call.what == "truncate":
        del data[call.offset :]
        data.extend(bytes(call.offset - len(data)))
    elif call.what == "allocate":
        data.extend(bytes(max(0, call.offset - len(data))))


def after_power_loss(memory: Memory, calls: int, reached: Callable[[Call], bool], pieces: Pieces) -> dict[str, bytes]:
    """The files after the first `calls` calls; of what was not synced, `reached` and `pieces` say what is there."""
    done = memory.calls[:calls]
    synced = {call.file: place for place, call in enumerate(done) if call.what == "sync"}
    folder_synced = max((place for place, call in enumerate(done) if call.what == "folder"), default=-1)
    lost: set[int] = set()
    waiting: dict[int, list[int]] = {}
    for place, call in enumerate(done):
        if call.what in {"write", "truncate", "allocate"}:
            waiting.setdefault(call.file, []).append(place)
        elif call.what == "lost":
            lost.update(waiting.pop(call.file, []))
        elif call.what == "sync":
            waiting.pop(call.file, None)
    data = {number: bytearray(memory.start.get(name, b"")) for number, name in enumerate(memory.start, 1)}
    entries = {name: number for number, name in enumerate(memory.start, 1)}
    for place, call in enumerate(done):
        if call.what in {"create", "rename", "unlink"}:
            if call.what == "create":
                data[call.file] = bytearray()
            if place < folder_synced or reached(call):
                _enter(entries, call)
        elif call.what in {"write", "truncate", "allocate"}:
            if place < synced.get(call.file, -1) and place not in lost:
                _apply(data[call.file], call)
            elif reached(call):
                _apply(data[call.file], call, pieces)
    return {name: bytes(data[number]) for name, number in entries.items()}


def _enter(entries: dict[str, int], call: Call) -> None:
    if call.what == "create":
        entries[call.name] = call.file
    elif call.what == "unlink":
        entries.pop(call.name, None)
    elif call.name in entries:
        entries[call.new] = entries.pop(call.name)


def some_pieces(rng: random.Random) -> Pieces:
    """Of each write a few ranges reached the disk, or all, or nothing."""

    def pieces(size: int) -> list[tuple[int, int]]:
        kind = rng.randrange(4)
        if kind < 2:
            return [(0, size)] if kind else []
        cuts = sorted(rng.randrange(size + 1) for _ in range(2 * rng.randrange(1, 4)))
        return list(zip(cuts[::2], cuts[1::2], strict=True))

    return pieces


def everything(spool: Spool, start: int | None = None, most_bytes: int = 1 << 20) -> Iterator[Record | Missing]:
    """All records that can be read, and what is missing, by name."""
    position = spool.oldest if start is None else start
    while position < spool.durable_end:
        try:
            rows = spool.read(position, most_bytes)
        except Missing as missing:
            yield missing
            position = missing.gap.end
        else:
            assert rows, f"nothing at {position} of {spool.durable_end}"
            assert [row[0] for row in rows] == list(range(position, position + len(rows)))
            yield from rows
            position += len(rows)


def opened(files: dict[str, bytes], **options: int) -> tuple[Spool, Memory]:
    """A spool on a disk that holds these files."""
    memory = Memory(dict(files))
    return Spool.open(memory, **{"most_bytes": 1 << 20, **options}), memory


async def dropped(spool: Spool) -> None:
    """End a life without its close: the thread goes, nothing is written."""
    if spool._flight is not None:
        with suppress(HeadwaterError):
            await spool._flight
    spool._thread.shutdown()
