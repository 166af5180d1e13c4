"""The side that writes and syncs; it runs in the spool's thread and tells the loop by steps what is durable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from headwater.contract.errors import Permanent
from headwater.transport.files import file_error
from headwater.transport.spool.folder import File, Folder
from headwater.transport.spool.frames import Pending
from headwater.transport.spool.segments import Segment, created, of


@dataclass(frozen=True, slots=True)
class Step:
    """What is so after a sync: the segment is durable up to `end`."""

    segment: Segment
    end: int
    used: int
    size: int


@dataclass(slots=True)
class Outcome:
    """The steps that were made, and why there were no more."""

    steps: list[Step]
    failure: Permanent | None = None


class Writer:
    """Appends to the newest segment; a segment with which anything failed gets nothing more."""

    def __init__(self, folder: Folder, spool: str, number: int) -> None:
        self._folder = folder
        self._spool = spool
        self._number = number
        self._segment: Segment | None = None
        self._file: File | None = None
        self._last: Step | None = None
        self.syncs = 0

    def write(self, pending: Sequence[Pending]) -> Outcome:
        """Write and sync them all, segment by segment; the first one says by `allocate` whether it starts one."""
        outcome = Outcome([])
        try:
            for frames in _by_segment(pending):
                if frames[0].allocate:
                    self._seal(outcome)
                    self._begin(frames[0], outcome)
                self._put(frames, outcome)
        except OSError as error:
            self._seal(outcome)
            outcome.failure = file_error(error, self._folder.path)
        return outcome

    def close(self) -> None:
        """Let go of the newest segment."""
        self._seal(Outcome([]))

    def _begin(self, frame: Pending, outcome: Outcome) -> None:
        self._number += 1
        segment = of(self._spool, frame.position, self._number)
        self._file = created(self._folder, segment, frame.allocate, frame.time_ms)
        self.syncs += 2
        self._segment = segment
        self._tell(Step(segment, segment.base, segment.used, segment.size), outcome)

    def _put(self, frames: Sequence[Pending], outcome: Outcome) -> None:
        last = self._last
        assert self._file is not None  # noqa: S101 - the first frame of a spool starts a segment
        assert last is not None  # noqa: S101 - as above
        salt = last.segment.salt
        buffers = [part for frame in frames for part in (frame.head(salt, last.end), frame.body)]
        self._file.write_at(buffers, last.used)
        self.syncs += 1
        self._file.sync()
        used = last.used + sum(map(len, buffers))
        self._tell(Step(last.segment, frames[-1].end, used, max(used, last.size)), outcome)

    def _seal(self, outcome: Outcome) -> None:
        """Nothing more goes into the newest segment; what is behind its last durable frame is void."""
        file, last = self._file, self._last
        self._file = self._segment = self._last = None
        if file is None or last is None:
            return
        with suppress(OSError):  # the room is given back when the segment is deleted; a reader stops at the next base
            file.truncate(last.used)
            outcome.steps.append(Step(last.segment, last.end, last.used, last.used))
        with suppress(OSError):  # all that counts is synced
            file.close()

    def _tell(self, step: Step, outcome: Outcome) -> None:
        self._last = step
        outcome.steps.append(step)


def _by_segment(pending: Sequence[Pending]) -> Iterator[Sequence[Pending]]:
    start = 0
    for place, frame in enumerate(pending):
        if frame.allocate and place > start:
            yield pending[start:place]
            start = place
    if pending:
        yield pending[start:]
