"""How much of an era is at the target, where some of it was deleted there already."""

from __future__ import annotations

import pytest

from replicator.fresh.landed import landed
from replicator.numbering import Stamp
from replicator.position import Position

PID = 7


def stamp(at: int, number: int, epoch: int = 2) -> Stamp:
    """A batch of ten records of the link."""
    return Stamp(at, 10, PID, epoch, number)


@pytest.mark.parametrize(
    ("count", "former", "log_first", "number"),
    [
        pytest.param(50, [stamp(150, 50), stamp(160, 60)], 0, 70, id="all of it is there"),
        pytest.param(50, [stamp(160, 60)], 155, 70, id="what is left follows what was deleted"),
        pytest.param(50, [], 170, 70, id="nothing is left: its offsets tell"),
        pytest.param(50, [stamp(160, 50)], 155, 60, id="what was deleted was a repeat"),
        pytest.param(50, [stamp(160, 40)], 155, 50, id="what is left is a repeat"),
        pytest.param(0, [], 170, 0, id="an era of which nothing is known: others may have landed there"),
        pytest.param(0, [stamp(160, 90, 1)], 155, 0, id="late batches of the era before, and none of this one"),
        pytest.param(0, [stamp(160, 0)], 155, 10, id="its first batch, behind late ones of the era before"),
    ],
)
def test_batches_tell_before_offsets_do(count: int, former: list[Stamp], log_first: int, number: int) -> None:
    """Offsets count what a target took twice, and late batches of another era: never is more taken to be there."""
    before = Position(2, 0, 500 + count, count, 150)
    assert landed(before, PID, former, log_first, 170, "here") == number
