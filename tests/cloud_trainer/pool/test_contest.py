"""Faults, what is found of them, and what the budget pays for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from cloud_trainer.pool import contest
from cloud_trainer.pool.budget import Sizes, plan
from cloud_trainer.pool.faults import KINDS, inject
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats, Vectors
from tests.cloud_trainer.pool.windows import windows

SEEN = windows(600, 3)


@dataclass
class Blind:
    """Scores by nothing, or by what it is told."""

    layout: str = "summary"
    weight: float = 0.0

    def levels(self, rows: Vectors) -> Floats:
        rng = np.random.default_rng(1)
        return np.asarray(rng.random(len(rows)) + self.weight * np.abs(rows).max(axis=1))


def test_faults_come_from_the_seed_and_leave_the_rest_alone() -> None:
    """The same seed gives the same faults, another one others; one channel of each window is touched, from a row on."""
    found, again, other = inject(SEEN, 1), inject(SEEN, 1), inject(SEEN, 2)
    assert tuple(found) == KINDS
    for kind in KINDS:
        assert np.array_equal(found[kind], again[kind])
        assert not np.array_equal(found[kind], other[kind])
        touched = found[kind] != SEEN
        assert (touched.any(axis=1).sum(axis=1) <= 1).all()
        assert touched[:, -1].any(axis=1).mean() > 0.95
    assert (found["stuck"][:, -1] == found["stuck"][:, -8]).any(axis=1).all()
    assert np.abs((found["step"] - SEEN)[:, -1]).max(axis=1) == pytest.approx(
        np.abs((found["drift"] - SEEN)[:, -1]).max(axis=1), abs=2.5
    )


def test_who_sees_nothing_finds_no_more_than_it_alarms_falsely() -> None:
    """A blind detector finds about as many faults as the false shares allow, a seeing one finds more."""
    where = contest.arena({"a": SEEN}, 1, 10_000)
    blind, seeing = (contest.compete(Blind(weight=weight), where) for weight in (0.0, 5.0))  # type: ignore[arg-type]  # a stand-in that has what is used
    assert blind.found < 0.08
    assert seeing.found > blind.found + 0.1
    assert seeing.margin_over(blind) > 0 > blind.margin_over(seeing)
    assert set(seeing.kinds) == set(KINDS)
    assert seeing.blocks.mean() == pytest.approx(seeing.found, abs=0.03)


def test_what_is_no_better_has_no_margin() -> None:
    """The margin over itself, and over a single block, is not above zero."""
    where = contest.arena({"a": SEEN}, 1, 10_000)
    one = contest.compete(Blind(weight=1.0), where)  # type: ignore[arg-type]  # a stand-in that has what is used
    assert one.margin_over(one) <= 0
    small = contest.compete(Blind(), contest.arena({"a": SEEN[:8]}, 1, 10_000))  # type: ignore[arg-type]  # a stand-in that has what is used
    assert small.margin_over(small) < 0


def test_an_arena_takes_whole_blocks_of_every_asset() -> None:
    """A large set is thinned by blocks of neighbours, spread over each asset's time."""
    where = contest.arena({"a": SEEN, "b": SEEN[:100]}, 1, 100)
    assert 60 <= len(where) <= 160
    assert set(np.bincount(where.block)) <= {12, len(SEEN) % 12, 100 % 12}


def test_a_larger_budget_only_adds_to_what_is_tried() -> None:
    """The list is a matter of sizes and seed alone: never of a clock; what is left out is counted."""
    sizes = Sizes(2_000, 20, 6)
    tried = [plan(Recipe(budget_s=seconds), sizes) for seconds in (0.0, 1.0, 5.0, 30.0, 120.0)]
    for less, more in pairwise(tried):
        for family, members in less.trials.items():
            assert more.trials[family][: len(members)] == members
    assert set(tried[0].trials) == {"hotelling-t2", "pca-t2-q"}
    assert {"dense-ae", "conv1d-ae", "causal-tcn", "gradient-boosted-trees"} <= set(tried[3].trials)
    assert all(one.seconds <= max(seconds, 3) for one, seconds in zip(tried, (0, 1, 5, 30, 120), strict=True))
    assert sum(tried[1].left_out.values()) > sum(tried[4].left_out.values()) > 0
    assert plan(Recipe(budget_s=30.0), sizes) == tried[3]
    assert plan(Recipe(budget_s=120.0, seed=2), sizes) != tried[4]


def test_networks_of_windows_are_left_out_where_windows_are_too_large_or_too_small() -> None:
    """Many channels over many readings, or a handful of readings, leave means and spreads."""
    for sizes in (Sizes(2_000, 200, 20), Sizes(2_000, 5, 3)):
        tried = plan(Recipe(budget_s=1_000.0), sizes)
        assert not {"conv1d-ae", "causal-tcn"} & (set(tried.trials) | set(tried.left_out))
