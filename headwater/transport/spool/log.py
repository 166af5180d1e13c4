"""The spool as its users see it: append, commit, read, trim."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

from headwater.contract.errors import BadInput, HeadwaterError, Permanent
from headwater.transport.files import file_error
from headwater.transport.spool.bounds import Gap, Missing, Room
from headwater.transport.spool.folder import DiskFolder, File, Folder
from headwater.transport.spool.frames import Pending, Record, Row, mark, pack
from headwater.transport.spool.reader import Reader
from headwater.transport.spool.recovery import recovered
from headwater.transport.spool.segments import Segment
from headwater.transport.spool.writer import Outcome, Writer


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Spool:
    """An append-only log in a folder; used from one event loop, which waits for the disk only in `read`.

    Positions are numbers of records; they only grow and are never used for two records that were both durable.
    """

    def __init__(
        self, folder: Folder, lock: File, segments: list[Segment], room: Room, clock_ms: Callable[[], int]
    ) -> None:
        self._folder = folder
        self._lock = lock
        self._segments = segments
        self._room = room
        self._clock_ms = clock_ms
        self.id = segments[-1].spool
        """24 hex digits, made with the folder's first segment."""
        self._writer = Writer(folder, self.id, segments[-1].number)
        self._thread = ThreadPoolExecutor(1, "spool")
        self._reader, self._clock_reader = Reader(folder, segments), Reader(folder, segments)
        self._pending: list[Pending] = []
        self._pending_bytes = 0
        self._durable = self._end = segments[-1].end
        self._trimmed = segments[0].base
        self._flight: asyncio.Future[Outcome] | None = None
        self._failure: Permanent | None = None
        self._active = False  # whether the newest segment takes more
        self._closed = False
        self._replan()

    @classmethod
    def open(
        cls,
        folder: Path | Folder,
        *,
        most_bytes: int,
        segment_bytes: int = 16 << 20,
        clock_ms: Callable[[], int] = _now_ms,
    ) -> Self:
        """Open the spool in `folder`, or make one there; what an earlier life left is whole and durable afterwards.

        `most_bytes` bounds all segments on disk, `segment_bytes` (at most an eighth of that) one of them.
        Raises Conflict when another process has it open, Permanent when the folder cannot be used.
        """
        try:
            folder = DiskFolder(folder) if isinstance(folder, Path) else folder
            lock = folder.lock()
        except OSError as error:
            raise file_error(error, folder if isinstance(folder, Path) else folder.path) from error
        try:
            now = clock_ms()
            segments = recovered(folder, f"{now & (1 << 48) - 1:012x}{secrets.token_hex(6)}", now)
        except (OSError, HeadwaterError) as error:
            lock.close()
            if isinstance(error, OSError):
                raise file_error(error, folder.path) from error
            raise
        return cls(folder, lock, segments, Room(most_bytes, segment_bytes), clock_ms)

    @property
    def bytes(self) -> int:
        """Of all segments and of what waits for a commit, without preallocated room."""
        return sum(segment.used for segment in self._segments) + self._pending_bytes

    @property
    def oldest(self) -> int:
        """The first position that is kept; it may be below the last `trim`, which deletes whole segments only."""
        return self._segments[0].base

    @property
    def end(self) -> int:
        """The position that the next record gets."""
        return self._end

    @property
    def durable_end(self) -> int:
        """All positions below it are on disk."""
        return self._durable

    @property
    def age_ms(self) -> int:
        """How long ago the oldest record that was not trimmed was appended; 0 if there is none."""
        try:
            then = self._clock_reader.time_ms(max(self._trimmed, self.oldest), self._durable)
        except OSError as error:
            raise file_error(error, self._folder.path) from error
        if then is None and self._pending:
            then = self._pending[0].time_ms
        return 0 if then is None else max(0, self._clock_ms() - then)

    @property
    def syncs(self) -> int:
        """How often this life has waited for the disk."""
        return self._writer.syncs

    def append(self, records: Sequence[Row]) -> int:
        """Take records, each of one part or of several; the position of the first one. They are durable after `commit`.

        Nothing is written yet. Raises Full, and then nothing was taken; what the last commit raised, until one
        succeeds again; BadInput when they can never fit.
        """
        if self._failure is not None:
            raise Permanent(str(self._failure), hint=self._failure.hint)
        position = self._end
        if records:
            frame = pack(records, position, self._clock_ms())
            frame.allocate = self._room.take(frame.size)
            self._take(frame)
        return position

    async def commit(self) -> int:
        """Make all that was appended before this call durable; the durable end. Calls at the same time share a sync.

        Raises Permanent when the disk is full or fails: what no commit has confirmed is still held in memory, and the
        next commit tries it again in a new segment. A cancelled call changes nothing about the sync under way.
        """
        goal = self._end
        while self._durable < goal:
            outcome = await asyncio.shield(self._flight or self._start())
            if outcome.failure is not None and self._durable < goal:
                raise outcome.failure
        return self._durable

    def read(self, position: int, most_bytes: int) -> list[Record]:
        """Durable records from `position` on, each `(position, part, …)`: at least one, or none at the durable end.

        In sequence without holes; the bytes of the parts stay within `most_bytes`, unless the first record is larger.
        Raises Missing when the record at `position` was trimmed, dropped or damaged (`gap` says up to where),
        BadInput behind the durable end.
        """
        if position > self._durable:
            raise BadInput(f"spool: position {position} is behind the durable end {self._durable}")
        if position < self.oldest:
            raise Missing(Gap(position, self.oldest), "they were trimmed or dropped")
        return self._reader.read(position, self._durable, most_bytes)

    def trim(self, position: int) -> None:
        """Records below `position` are no longer needed; segments wholly below it are deleted, but never the last.

        A crash in between leaves some of them. Raises Permanent when a file cannot be deleted.
        """
        self._trimmed = max(self._trimmed, min(position, self._durable))
        count = 0
        while count + 1 < len(self._segments) and self._segments[count + 1].base <= position:
            count += 1
        self._delete(count)

    def drop_oldest(self, least_bytes: int) -> Gap:
        """Delete whole oldest segments until `least_bytes` are free; which positions are gone, for good.

        Fewer bytes when only the newest segment is left. Raises Permanent when a file cannot be deleted.
        """
        start, count, freed = self.oldest, 0, 0
        while freed < least_bytes and count + 1 < len(self._segments):
            freed += self._segments[count].size
            count += 1
        if self._delete(count):
            try:
                self._folder.sync()
            except OSError as error:
                raise file_error(error, self._folder.path) from error
        return Gap(start, self.oldest)

    def advance(self, position: int) -> None:
        """Go on at `position` if the end is below: for who knows that those were used, when a disk has lost them.

        Before the first append of a life; raises BadInput when appended records wait.
        """
        if position <= self._end:
            return
        if self._pending:
            raise BadInput(f"spool: cannot go on at {position} while {len(self._pending)} appends wait for a commit")
        self._end = self._durable = position
        self._active = False
        self._replan()

    async def close(self) -> None:
        """Commit, leave a mark that vouches for it, and let others open the folder; raises what `commit` raises.

        Once more does nothing.
        """
        if self._closed:
            return
        self._closed = True
        try:
            await self.commit()
            frame = mark(self._end, self._clock_ms())
            if self._active and self._room.fits(frame.size):
                self._take(frame)
                await asyncio.shield(self._start())
        finally:
            self._thread.shutdown()
            self._writer.close()
            self._reader.close()
            self._clock_reader.close()
            with suppress(OSError):  # nothing was written to it
                self._lock.close()

    def _take(self, frame: Pending) -> None:
        self._pending.append(frame)
        self._pending_bytes += frame.size
        self._end = frame.end

    def _start(self) -> asyncio.Future[Outcome]:
        loop = asyncio.get_running_loop()
        self._flight = loop.run_in_executor(self._thread, self._writer.write, tuple(self._pending))
        self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, flight: asyncio.Future[Outcome]) -> None:
        """Runs before those who wait for the flight go on."""
        self._flight = None
        outcome = flight.result()
        for step in outcome.steps:
            step.segment.end, step.segment.used, step.segment.size = step.end, step.used, step.size
            if step.segment.number > self._segments[-1].number:
                self._segments.append(step.segment)
            self._durable = max(self._durable, step.end)
        self._failure = outcome.failure
        self._active = outcome.failure is None
        self._pending = [frame for frame in self._pending if frame.end > self._durable]
        self._forget_empty()
        self._replan()

    def _forget_empty(self) -> None:
        """A segment that ends where it begins is void as soon as there is a newer one."""
        for segment, after in zip(self._segments[:-1], self._segments[1:], strict=True):
            if segment.base == after.base:
                self._segments.remove(segment)
                with suppress(OSError):  # the next start tries again
                    self._folder.unlink(segment.name)

    def _replan(self) -> None:
        """Lay what waits into segments anew: some was written or given up. A flight reads the plan."""
        newest = self._segments[-1]
        left = newest.size - newest.used if self._active else 0
        self._room.reset(sum(segment.size for segment in self._segments), left)
        self._pending_bytes = sum(frame.size for frame in self._pending)
        for frame in self._pending:
            frame.allocate = self._room.take(frame.size, forced=True)

    def _delete(self, count: int) -> int:
        """Remove the oldest segments from the disk, then from the list; how many."""
        for _ in range(count):
            try:
                self._folder.unlink(self._segments[0].name)
            except OSError as error:
                raise file_error(error, self._folder.path) from error
            self._room.give(self._segments[0].size)
            del self._segments[0]
        return count
