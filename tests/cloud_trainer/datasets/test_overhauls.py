"""Lives lie between overhauls, wherever a link shipped the records."""

from __future__ import annotations

import numpy as np

from cloud_trainer.datasets.columns import Block, Columns, table
from cloud_trainer.datasets.overhauls import Life, Overhauls


def block(offsets: list[int], logged: list[int] | None = None) -> Block:
    """Readings at these offsets; log times are the same numbers where none are given."""
    count = np.array(offsets, np.int64)
    times = count if logged is None else np.array(logged, np.int64)
    return Block(count, times, times, ("a",), times[:, None].astype(float))


def test_a_life_lies_between_two_overhauls() -> None:
    """The first began before the range, the last goes on; failed is what the overhaul behind it says."""
    columns, overhauls = Columns(fresh=[block([0, 1, 2]), block([4, 5, 7, 9])]), Overhauls()
    for offset, failed in ((3, True), (6, False), (8, True)):
        overhauls.add(offset, offset, failed, beside=False)
    assert list(overhauls.lives(columns)) == [
        Life(0, 3, begins=False, failed=True),
        Life(3, 5, begins=True, failed=False),
        Life(5, 6, begins=True, failed=True),
        Life(6, 7, begins=True, failed=None),
    ]


def test_two_overhauls_in_a_row_have_no_life_between_them() -> None:
    """Nor is one behind the last reading a life that goes on."""
    overhauls = Overhauls()
    for offset in (0, 1, 5):
        overhauls.add(offset, offset, failed=True, beside=False)
    assert list(overhauls.lives(Columns(fresh=[block([2, 3, 4])]))) == [Life(0, 3, begins=True, failed=True)]


def test_without_overhauls_all_is_one_life_that_goes_on() -> None:
    """Of which nobody knows the beginning."""
    assert list(Overhauls().lives(Columns(fresh=[block([0, 1])]))) == [Life(0, 2, begins=False, failed=None)]


def test_a_backlog_takes_its_place_by_log_time() -> None:
    """A link shipped the end of a life first, its begin and the overhaul beside: places are those of the table."""
    columns = Columns(fresh=[block([0, 1], [30, 31])], backlog=[block([0, 2, 3], [10, 20, 21])])
    overhauls = Overhauls()
    overhauls.add(1, 15, failed=True, beside=True)
    overhauls.add(2, 40, failed=True, beside=False)
    times = table(columns, ("a",)).t.tolist()
    lives = list(overhauls.lives(columns))
    assert [times[life.start : life.end] for life in lives] == [[10], [20, 21, 30, 31]]
    assert [(life.begins, life.failed) for life in lives] == [(False, True), (True, True)]
