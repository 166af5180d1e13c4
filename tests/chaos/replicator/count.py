"""What became of the source's committed records at the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from replicator.position import RETENTION, Gap
from tests.chaos.count import Outcome
from tests.chaos.replicator.logs import Entry

_EXAMPLES = 5


class Sides(NamedTuple):
    """One partition of a topic that is not compacted: what had to arrive, and what did."""

    where: str
    source: Sequence[Entry]  # committed, those included that were deleted since
    target: Sequence[Entry]
    gaps: Sequence[Gap]


class Sums:
    """Adds up partitions, and remembers some examples."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []
        self.strange: list[str] = []

    @property
    def wrong(self) -> list[str]:
        """What must not be, besides what is counted."""
        strays = self.counts["never committed"]
        return [*self.strange, *([f"{strays} records that the source never committed"] if strays else [])]

    def note(self, what: str, example: str) -> None:
        """One more."""
        self.counts[what] += 1
        if self.counts[what] <= _EXAMPLES:
            self.examples.append(f"{what}: {example}")

    def put(self, outcome: Outcome) -> None:
        """Write the sums down."""
        outcome.sent, outcome.written = self.counts["sent"], self.counts["written"]
        outcome.lost, outcome.duplicated = self.counts["lost"], self.counts["duplicated"]
        outcome.reordered, outcome.named = self.counts["reordered"], self.counts["named"]
        outcome.examples = self.examples


def plain(sums: Sums, sides: Sides) -> None:
    """Each record once, in order; what a gap record names is not lost, and must not have arrived behind it."""
    order = {each.number: place for place, each in enumerate(sides.source)}
    sums.counts["sent"] += len(sides.source)
    sums.counts["written"] += len(sides.target)
    seen: set[int | None] = set()
    newest = -1
    for each in sides.target:
        where = f"{each.number} at target offset {each.offset} of {sides.where}"
        place = order.get(each.number)
        if place is None:
            sums.note("never committed", where)
        elif each.number in seen:
            sums.note("duplicated", where)
        elif place < newest:
            sums.note("reordered", where)
        seen.add(each.number)
        newest = max(newest, place or 0)
    for each in sides.source:
        if each.number not in seen:
            named = any(gap.cause == RETENTION and gap.first <= each.offset < gap.end for gap in sides.gaps)
            sums.note("named" if named else "lost", f"{each.number} at source offset {each.offset} of {sides.where}")
    strange = [gap for gap in sides.gaps if gap.cause != RETENTION]
    sums.strange += [f"a gap with cause {gap.cause} in {sides.where}, [{gap.first}, {gap.end})" for gap in strange]


def keyed(sums: Sums, where: str, source: Sequence[Entry], target: Sequence[Entry]) -> None:
    """Of a compacted topic: the newest of each key is the same, none comes twice, and each key keeps its order."""
    sums.counts["sent"] += len(source)
    sums.counts["written"] += len(target)
    seen: set[int | None] = set()
    newest: dict[bytes, int] = {}
    for each in target:
        number = -1 if each.number is None else each.number
        if number in seen:
            sums.note("duplicated", f"{number} at target offset {each.offset} of {where}")
        elif number < newest.get(each.key, -1):
            sums.note("reordered", f"{number} at target offset {each.offset} of {where}")
        seen.add(number)
        newest[each.key] = max(newest.get(each.key, -1), number)
    for each in source:
        if each.number not in seen:
            sums.note("lost", f"{each.number} at source offset {each.offset} of {where}")


def by_partition(gaps: Sequence[Gap]) -> Mapping[tuple[str, int], list[Gap]]:
    """Gap records of each partition."""
    found: dict[tuple[str, int], list[Gap]] = {}
    for gap in gaps:
        found.setdefault((gap.topic, gap.partition), []).append(gap)
    return found
