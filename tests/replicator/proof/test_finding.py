"""What is said of a log that is not what was shipped: arithmetic alone, on made-up stamps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from replicator.proof.entry import Cell, folded, pack, unpack
from replicator.proof.finding import ALTERED, DOUBLED, DROPPED, INSERTED, SWAPPED, Finding, Seen, Wanted
from replicator.proof.matching import Matching

RECORDS = 10  # a batch


def cells_of(stamps: Sequence[int], size: int) -> list[Wanted]:
    """Cells of `size` batches each."""
    found = []
    for first in range(0, len(stamps), size):
        fold, part = 0, stamps[first : first + size]
        for stamp in part:
            fold = folded(fold, stamp)
        found.append(Wanted(first * RECORDS, len(part), len(part) * RECORDS, fold))
    return found


async def findings(cells: Sequence[Wanted], stamps: Sequence[int]) -> list[Finding]:
    """What is found in a log with these batches."""

    async def log() -> AsyncIterator[Seen]:
        for index, stamp in enumerate(stamps):
            yield Seen(index * RECORDS, RECORDS, stamp)

    matching = Matching()
    await matching.match(cells, log())
    return matching.findings()


STAMPS = [n * 7919 % 4_294_967_296 for n in range(1, 41)]


async def test_what_is_whole_has_no_finding() -> None:
    """A log as it was shipped, with more behind it, is proven up to the last cell."""
    assert await findings(cells_of(STAMPS, 4), STAMPS) == []
    matching = Matching()

    async def log() -> AsyncIterator[Seen]:
        for index, stamp in enumerate([*STAMPS, 1, 2]):
            yield Seen(index * RECORDS, RECORDS, stamp)

    await matching.match(cells_of(STAMPS, 4), log())
    assert (matching.agreed, matching.rest) == (400, 20)


async def test_whole_cells_are_named_by_their_offsets() -> None:
    """Dropped, doubled, swapped, altered and inserted cells are told apart, each with its range."""
    cells = cells_of(STAMPS, 4)
    gone = [*STAMPS[:8], *STAMPS[16:]]
    assert await findings(cells, gone) == [Finding(DROPPED, 80, (80, 160), (80, 80))]
    twice = [*STAMPS[:8], *STAMPS[4:]]
    assert await findings(cells, twice) == [Finding(DOUBLED, 40, (40, 80), (80, 120))]
    turned = [*STAMPS[:4], *STAMPS[8:12], *STAMPS[4:8], *STAMPS[12:]]
    (swap,) = await findings(cells, turned)
    assert (swap.kind, swap.records) == (SWAPPED, 40)
    assert swap.shipped in {(40, 80), (80, 120)}
    other = [*STAMPS[:8], 1, 2, 3, 4, *STAMPS[12:]]
    assert await findings(cells, other) == [Finding(ALTERED, 40, (80, 120), (80, 120))]
    more = [*STAMPS[:8], 1, 2, *STAMPS[8:]]
    assert await findings(cells, more) == [Finding(INSERTED, 20, (80, 80), (80, 100))]
    short = STAMPS[:32]
    assert await findings(cells, short) == [Finding(DROPPED, 80, (320, 400), (-1, -1))]


async def test_single_batches_within_a_cell_are_named() -> None:
    """One batch that was doubled or inserted is named exactly, one that was dropped or altered by its cell."""
    cells = cells_of(STAMPS, 4)
    assert await findings(cells, [*STAMPS[:6], STAMPS[5], *STAMPS[6:]]) == [Finding(DOUBLED, 10, (50, 60), (60, 70))]
    assert await findings(cells, [*STAMPS[:6], 77, *STAMPS[6:]]) == [Finding(INSERTED, 10, (60, 60), (60, 70))]
    assert await findings(cells, [*STAMPS[:6], *STAMPS[7:]]) == [Finding(DROPPED, 10, (40, 80), (40, 70))]
    assert await findings(cells, [*STAMPS[:6], 5, *STAMPS[7:]]) == [Finding(ALTERED, 40, (40, 80), (40, 80))]
    turned = [*STAMPS[:5], STAMPS[6], STAMPS[5], *STAMPS[7:]]
    assert await findings(cells, turned) == [Finding(SWAPPED, 40, (40, 80), (40, 80))]


@given(
    stamps=st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=60, unique=True),
    size=st.integers(1, 5),
    changes=st.lists(st.tuples(st.sampled_from("dxra"), st.integers(0, 1000)), min_size=1, max_size=4),
)
async def test_nothing_that_was_changed_goes_unseen(
    stamps: list[int], size: int, changes: list[tuple[str, int]]
) -> None:
    """Whatever is dropped, doubled, turned around or altered, a log that is another one is not taken for whole."""
    log = list(stamps)
    for change, where in changes:
        at = where % max(len(log) - 1, 1)
        if change == "d" and len(log) > 1:
            del log[at]
        elif change == "x":
            log.insert(at, log[at])
        elif change == "r" and len(log) > 1:
            log[at], log[at + 1] = log[at + 1], log[at]
        elif change == "a":
            log[at] ^= 1
    found = await findings(cells_of(stamps, size), log)
    behind = log[len(stamps) :] if log[: len(stamps)] == stamps else None
    assert bool(found) == (behind is None)
    for each in found:
        assert each.records > 0
        assert 0 <= each.shipped[0] <= each.shipped[1] <= len(stamps) * RECORDS
        assert each.sentence()


@given(st.lists(st.tuples(st.integers(1, 32_000), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.booleans())))
def test_cells_are_read_as_they_were_written(fields: list[tuple[int, int, int, bool]]) -> None:
    """Ten bytes a cell, and back."""
    cells = [Cell(*each) for each in fields]
    assert unpack(pack(cells)) == cells
