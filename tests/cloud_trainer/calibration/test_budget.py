"""The margin that a false-alarm budget asks for."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_trainer.calibration.budget import WEEK_S, margin, sustained
from cloud_trainer.calibration.limits import healthy, scaling, t_squared
from headwater.contract.episodes import EpisodeRule, Episodes
from headwater.contract.errors import BadInput

WINDOW = 6


def _fleet(machines: int, rows: int) -> list[np.ndarray]:
    dice = np.random.default_rng(7)
    return [dice.normal(size=(rows, 3)) * (1, 5, 0.1) + (0, 50, 2) for _ in range(machines)]


def test_a_smaller_budget_asks_for_a_larger_margin() -> None:
    """And so does a machine that is read more often, since a week of it has more rows."""
    fleet = _fleet(10, 400)
    tight, loose = (margin(fleet, budget, 1.0, WINDOW, 2).margin for budget in (1, 100))
    assert tight > loose > 1
    assert margin(fleet, 100, 300.0, WINDOW, 2).margin < loose


def test_the_budget_is_kept_where_nothing_moves() -> None:
    """40 machines, 2,000 healthy rows each, 500 episodes a machine and week: no more than twice as many come."""
    fleet, rows = _fleet(40, 400), 2_000
    budget = 500.0
    found = margin(fleet, budget, 1.0, WINDOW, 2)
    dice, opened = np.random.default_rng(8), 0
    rule = EpisodeRule(margin=found.margin, settle=0)
    for values in fleet:
        of = scaling(values)
        limits = healthy(values, of, WINDOW)
        states = Episodes(rule, limits.centre[None], limits.limits[None])
        for row in of.rows(dice.normal(size=(rows, 3)) * (1, 5, 0.1) + (0, 50, 2), WINDOW):
            network = t_squared(limits.whitener[None], states.deviation(row[None]))
            opened += int(states.push(row[None], network).opened[0])
    assert opened <= 2 * budget * 40 * rows / WEEK_S


def test_scores_come_from_limits_that_have_not_seen_them() -> None:
    """One block that differs from the others is far outside; within its own limits it would be at 1."""
    values = np.random.default_rng(9).normal(size=(400, 1))
    values[320:360] += 20
    assert max(sustained(values, WINDOW, 2)) > 3


def test_too_little_is_refused() -> None:
    """BadInput says how much there is; a budget of nothing makes no sense."""
    with pytest.raises(BadInput, match="20 are needed"):
        margin(_fleet(1, 200), 7, 1.0, WINDOW, 2)
    with pytest.raises(BadInput, match="makes no sense"):
        margin(_fleet(5, 400), 0, 1.0, WINDOW, 2)
