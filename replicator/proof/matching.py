"""Goes through a log beside the cells of what was shipped to it. No I/O.

Where the log does not go on with the next cell, the nearest place is looked for at which some cell and some batch
agree again. What was stepped over is explained at the end (finding.py), when all of it is known.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from replicator.proof.entry import folded
from replicator.proof.finding import Difference, Finding, Folds, Seen, Wanted, explained

_WINDOW = 2048  # batches looked ahead
_DEPTH = 512  # cells looked ahead


class Matching:
    """`match` one stretch of cells against the batches of a log, then `findings`. `agreed` counts records."""

    def __init__(self) -> None:
        self.agreed = 0
        self.rest = 0  # records behind the last cell
        self._cells: list[Wanted] = []
        self._differences: list[Difference] = []

    async def match(self, cells: Sequence[Wanted], log: AsyncIterator[Seen]) -> None:
        """Go through both to their ends."""
        self._cells += cells
        ahead: list[Seen] = []
        done = 0
        while done < len(cells):
            wanted = cells[done]
            await _fill(ahead, log, wanted.batches)
            if _holds(ahead, wanted):
                self.agreed += wanted.records
                del ahead[: wanted.batches]
                done += 1
                continue
            await _fill(ahead, log, _WINDOW)
            skip, drop = _resume(cells[done : done + _DEPTH], ahead)
            log_at = ahead[0].first if ahead else -1
            self._differ(Difference(cells[done : done + skip], ahead[:drop], (wanted.first, log_at)))
            done += skip
            del ahead[:drop]
        self.rest += sum([each.records for each in ahead] + [each.records async for each in log])

    def _differ(self, difference: Difference) -> None:
        """Two that touch are one."""
        former = self._differences[-1] if self._differences else None
        if former is not None and former.cells and former.batches and difference.cells and difference.batches:
            touching = former.cells[-1].end == difference.cells[0].first
            if touching and former.batches[-1].end == difference.batches[0].first:
                cells, batches = [*former.cells, *difference.cells], [*former.batches, *difference.batches]
                self._differences[-1] = Difference(cells, batches, former.at)
                return
        self._differences.append(difference)

    def findings(self) -> list[Finding]:
        """What differs, by the offsets as shipped."""
        return explained(self._differences, self._cells)


async def _fill(ahead: list[Seen], log: AsyncIterator[Seen], count: int) -> None:
    while len(ahead) < count:
        batch = await anext(log, None)
        if batch is None:
            return
        ahead.append(batch)


def _holds(ahead: Sequence[Seen], wanted: Wanted) -> bool:
    if len(ahead) < wanted.batches:
        return False
    fold = records = 0
    for each in ahead[: wanted.batches]:
        fold, records = folded(fold, each.stamp), records + each.records
    return (fold, records) == (wanted.fold, wanted.records)


def _resume(cells: Sequence[Wanted], ahead: Sequence[Seen]) -> tuple[int, int]:
    """How many cells and batches to step over, as few as possible, so that both agree again."""
    folds = Folds(each.stamp for each in ahead)
    places: dict[int, dict[int, int]] = {}
    for size in {each.batches for each in cells}:
        places[size] = {folds.of(at, size): at for at in reversed(range(len(ahead) - size + 1))}
    best, stepped = None, 0
    for skip, cell in enumerate(cells):
        drop = places[cell.batches].get(cell.fold)
        if drop is not None and (best is None or stepped + drop < best[0]):
            best = stepped + drop, skip, drop
        stepped += cell.batches
    if best is not None:
        return best[1], best[2]
    if not ahead:
        return len(cells), 0
    records = 0
    for drop, each in enumerate(ahead, start=1):
        records += each.records
        if records >= cells[0].records:
            return 1, drop
    return 1, len(ahead)
