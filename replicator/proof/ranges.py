"""The ranges in which two logs differ, as a comparison of their records finds them one by one. No I/O."""

from __future__ import annotations

from collections import deque

import msgspec

from headwater.transport.kafka_batch import Record
from replicator.fingerprint import digest
from replicator.proof.finding import ALTERED, DOUBLED, DROPPED, INSERTED, SWAPPED

_MOST = 100_000  # records that are remembered to find out whether they stand elsewhere
_RECENT = 256  # records of the target that one more may repeat


class Range(msgspec.Struct, frozen=True):
    """Offsets [first, end) at the source and at the target; where one side has nothing there, both are the same."""

    kind: str
    records: int
    source: tuple[int, int]
    target: tuple[int, int]

    def sentence(self) -> str:
        """For people."""
        here, there = (f"{first} to {end - 1}" for first, end in (self.source, self.target))
        return {
            DROPPED: f"source offsets {here} are missing at target offset {self.target[0]}",
            DOUBLED: f"target offsets {there} are doubled",
            INSERTED: f"target offsets {there} are not at the source",
            ALTERED: f"source offsets {here} are altered at target offsets {there}",
            SWAPPED: f"source offsets {here} stand at target offsets {there}",
        }[self.kind]


class Ranges:
    """Told of each difference in the order of the logs; `found` makes ranges of them."""

    def __init__(self) -> None:
        self._found: list[Range] = []
        self._missing: dict[bytes, Record] = {}  # by digest: the record at the source
        self._extra: dict[bytes, int] = {}  # by digest: offset at the target
        self._recent: deque[bytes] = deque(maxlen=_RECENT)

    def agreed(self, there: Record) -> None:
        """A record is where it belongs."""
        self._recent.append(there.key or b"" if there.value is None else there.value)

    def missing(self, here: Record, at: int) -> None:
        """A record of the source is not at the target, whose next offset is `at`."""
        if len(self._missing) < _MOST:
            self._missing[digest(here)] = here
        self._add(Range(DROPPED, 1, (here.offset, here.offset + 1), (at, at)))

    def surplus(self, there: Record, at: int) -> None:
        """A record of the target is not at the source, whose next offset is `at`."""
        repeats = (there.key or b"" if there.value is None else there.value) in self._recent
        if len(self._extra) < _MOST:
            self._extra[digest(there)] = there.offset
        self._add(Range(DOUBLED if repeats else INSERTED, 1, (at, at), (there.offset, there.offset + 1)))

    def altered(self, here: Record, there: Record) -> None:
        """A record of the target is another one than at the source."""
        self._add(Range(ALTERED, 1, (here.offset, here.offset + 1), (there.offset, there.offset + 1)))

    def _add(self, new: Range) -> None:
        last = self._found[-1] if self._found else None
        if last is not None and last.kind == new.kind and _follows(last, new):
            both = (last.source[0], new.source[1]), (last.target[0], new.target[1])
            self._found[-1] = Range(new.kind, last.records + 1, *both)
        else:
            self._found.append(new)

    def swapped(self) -> list[Range]:
        """Records that are missing in one place and too many in another."""
        found = Ranges()
        for name, here in self._missing.items():
            there = self._extra.get(name)
            if there is not None:
                found._add(Range(SWAPPED, 1, (here.offset, here.offset + 1), (there, there + 1)))
        return found._found

    def found(self) -> list[Range]:
        """All, by their offsets at the source; what is swapped is named as that alone."""
        swapped = self.swapped()
        here = {at for each in swapped for at in range(*each.source)}
        there = {at for each in swapped for at in range(*each.target)}
        rest = [
            each
            for each in self._found
            if not (each.kind == DROPPED and all(at in here for at in range(*each.source)))
            and not (each.kind in (DOUBLED, INSERTED) and all(at in there for at in range(*each.target)))
        ]
        return sorted([*rest, *swapped], key=lambda each: (each.source, each.target))


def _follows(one: Range, other: Range) -> bool:
    if one.kind == DROPPED:
        return one.source[1] == other.source[0]
    if one.kind in (DOUBLED, INSERTED):
        return one.target[1] == other.target[0]
    return one.source[1] == other.source[0] and one.target[1] == other.target[0]
