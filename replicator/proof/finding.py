"""What became of shipped batches: names what differs between the cells of the manifest and a log. No I/O.

Cells that stand elsewhere were swapped, batches that repeat a cell are doubled. Within a cell single batches are found
by arithmetic, since a fold is a polynomial in its stamps; if more than one changed there, the cell's range is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from replicator.proof.entry import BASE, PRIME, folded

DROPPED = "dropped"
DOUBLED = "doubled"
SWAPPED = "swapped"
ALTERED = "altered"
INSERTED = "inserted"
_PAIRS = 256  # batches among which two that changed places are looked for


class Wanted(NamedTuple):
    """A cell, and the target offset of its first record when it was shipped."""

    first: int
    batches: int
    records: int
    fold: int

    @property
    def end(self) -> int:
        """Offset behind it."""
        return self.first + self.records


class Seen(NamedTuple):
    """A batch of the log, by its offset there."""

    first: int
    records: int
    stamp: int

    @property
    def end(self) -> int:
        """Offset behind it."""
        return self.first + self.records


class Finding(NamedTuple):
    """Offsets [first, end) as they were `shipped`, and where the log has what was `found` instead or besides."""

    kind: str
    records: int
    shipped: tuple[int, int]
    found: tuple[int, int]

    def sentence(self) -> str:
        """For people."""
        first, last = self.shipped[0], self.shipped[1] - 1
        there = f"offsets {self.found[0]} to {self.found[1] - 1}"
        return {
            DROPPED: f"{self.records} records were dropped from offsets {first} to {last}",
            DOUBLED: f"{there} repeat {self.records} records of offsets {first} to {last}",
            SWAPPED: f"{self.records} records of offsets {first} to {last} stand at {there}",
            ALTERED: f"{there} differ from what was shipped as {first} to {last} ({self.records} records)",
            INSERTED: f"{there} hold {self.records} records that were not shipped, behind offset {first - 1}",
        }[self.kind]


class Folds:
    """Folds of any stretch of a sequence of stamps in constant time."""

    def __init__(self, stamps: Iterable[int]) -> None:
        self._heads, self._powers = [0], [1]
        for stamp in stamps:
            self._heads.append(folded(self._heads[-1], stamp))
            self._powers.append(self._powers[-1] * BASE % PRIME)

    def of(self, first: int, count: int) -> int:
        """Fold of `count` stamps from index `first`."""
        return (self._heads[first + count] - self._heads[first] * self._powers[count]) % PRIME

    def power(self, exponent: int) -> int:
        """BASE to a power."""
        return self._powers[exponent]


class Difference(NamedTuple):
    """Cells that a log does not have, batches that it has instead, and where: the offset as shipped, and the log's."""

    cells: Sequence[Wanted]
    batches: Sequence[Seen]
    at: tuple[int, int]


def explained(differences: Sequence[Difference], all_cells: Sequence[Wanted]) -> list[Finding]:
    """What differs, by the offsets as shipped."""
    found: list[Finding] = []
    strange = [each for each in differences if not each.cells]
    for difference in differences:
        if difference.cells and not difference.batches:
            found += _missing(difference, strange)
        elif difference.cells:
            found.append(_within(difference))
    taken = {each.found for each in found if each.kind == SWAPPED}
    for difference in strange:
        found += _extra(difference, all_cells, taken)
    return sorted(found, key=lambda each: (each.shipped, each.found))


def _missing(difference: Difference, strange: Sequence[Difference]) -> list[Finding]:
    """Cells that are not where they belong: swapped if some other place has them, else dropped."""
    found: list[Finding] = []
    for cell in difference.cells:
        place = next((p for each in strange if (p := _place(each.batches, cell)) is not None), None)
        at = difference.at[1]
        if place is not None:
            new = Finding(SWAPPED, cell.records, (cell.first, cell.end), place)
        else:
            new = Finding(DROPPED, cell.records, (cell.first, cell.end), (at, at))
        found.append(new)
    return _joined(found)


def _place(batches: Sequence[Seen], cell: Wanted) -> tuple[int, int] | None:
    folds = Folds(each.stamp for each in batches)
    for at in range(len(batches) - cell.batches + 1):
        if folds.of(at, cell.batches) == cell.fold:
            return batches[at].first, batches[at + cell.batches - 1].end
    return None


def _joined(found: Sequence[Finding]) -> list[Finding]:
    """Findings of a kind that touch on both sides are one."""
    joined: list[Finding] = []
    for each in found:
        last = joined[-1] if joined else None
        if last is not None and last.kind == each.kind and _touch(last, each):
            shipped, place = (last.shipped[0], each.shipped[1]), (last.found[0], each.found[1])
            joined[-1] = Finding(each.kind, last.records + each.records, shipped, place)
        else:
            joined.append(each)
    return joined


def _touch(one: Finding, other: Finding) -> bool:
    shipped = one.kind == INSERTED or one.shipped[1] == other.shipped[0]
    return shipped and (one.kind == DROPPED or one.found[1] == other.found[0])


def _extra(difference: Difference, cells: Sequence[Wanted], taken: set[tuple[int, int]]) -> list[Finding]:
    """Batches that no cell stands for, swapped ones left out: doubled where they repeat cells, else inserted."""
    known = {(each.batches, each.fold): each for each in cells}
    sizes = sorted({each.batches for each in cells}, reverse=True)
    batches, at, found = difference.batches, 0, []
    folds = Folds(each.stamp for each in batches)
    while at < len(batches):
        cell, step = None, 1
        for size in sizes:
            cell = known.get((size, folds.of(at, size))) if at + size <= len(batches) else None
            if cell is not None:
                step = size
                break
        place = batches[at].first, batches[at + step - 1].end
        at += step
        if any(first <= place[0] and place[1] <= end for first, end in taken):
            continue
        here = difference.at[0]
        shipped = (cell.first, cell.end) if cell is not None else (here, here)
        found.append(Finding(DOUBLED if cell is not None else INSERTED, place[1] - place[0], shipped, place))
    return _joined(found)


def _within(difference: Difference) -> Finding:
    """Cells that have other batches: one stretch doubled or inserted, two that changed places, or else."""
    cells, batches = difference.cells, difference.batches
    shipped, found = (cells[0].first, cells[-1].end), (batches[0].first, batches[-1].end)
    more = sum(each.records for each in batches) - sum(each.records for each in cells)
    if more < 0:
        return Finding(DROPPED, -more, shipped, found)
    if more > 0:
        place = _surplus(cells, batches)
        if place is None:
            return Finding(INSERTED, more, shipped, found)
        first, count = place
        there = batches[first].first, batches[first + count - 1].end
        again = [each.stamp for each in batches[first : first + count]]
        if again == [each.stamp for each in batches[max(first - count, 0) : first]]:
            at = shipped[0] + sum(each.records for each in batches[: first - count])
            return Finding(DOUBLED, more, (at, at + more), there)
        at = shipped[0] + sum(each.records for each in batches[:first])
        return Finding(INSERTED, more, (at, at), there)
    return Finding(SWAPPED if _two_changed_places(cells, batches) else ALTERED, found[1] - found[0], shipped, found)


def _total(cells: Sequence[Wanted]) -> tuple[int, int]:
    """Fold and batches of cells that follow each other."""
    fold = count = 0
    for cell in cells:
        fold = (fold * pow(BASE, cell.batches, PRIME) + cell.fold) % PRIME
        count += cell.batches
    return fold, count


def _surplus(cells: Sequence[Wanted], batches: Sequence[Seen]) -> tuple[int, int] | None:
    """Index and number of the batches without which all would be as it was; of several answers the last."""
    fold, count = _total(cells)
    more = len(batches) - count
    if more <= 0:
        return None
    folds = Folds(each.stamp for each in batches)
    for first in reversed(range(count + 1)):
        rest = count - first
        if (folds.of(0, first) * folds.power(rest) + folds.of(first + more, rest)) % PRIME == fold:
            return first, more
    return None


def _two_changed_places(cells: Sequence[Wanted], batches: Sequence[Seen]) -> bool:
    fold, count = _total(cells)
    if count != len(batches) or count > _PAIRS:
        return False
    folds = Folds(each.stamp for each in batches)
    off = (fold - folds.of(0, count)) % PRIME
    weights = [folds.power(count - 1 - at) for at in range(count)]
    return any(
        (batches[b].stamp - batches[a].stamp) * (weights[a] - weights[b]) % PRIME == off
        for a in range(count)
        for b in range(a + 1, count)
    )
