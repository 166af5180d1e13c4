"""Chance is called chance: two models that do not differ are told apart as rarely as is said."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cloud_trainer.judging.compare import figures_of
from cloud_trainer.judging.counts import COUNTED, FN, FP, ROWS, TN, TP, Blocks
from cloud_trainer.judging.intervals import student, symmetric
from cloud_trainer.series import Floats

ROUNDS = 400
Drawn = Callable[[np.random.Generator, int], Floats]  # hits of 100 faults, in each block


def _even(rng: np.random.Generator, blocks: int) -> Floats:
    return rng.integers(20, 80, blocks).astype(np.float64)


def _all_or_nothing(rng: np.random.Generator, blocks: int) -> Floats:
    return 100 * rng.integers(0, 2, blocks).astype(np.float64)


def counted(*hits: Floats) -> Floats:
    """Counts of two models that hit so many of 100 faults in each block, with 100 normal readings beside them."""
    table = np.zeros((len(hits[0]), 2, COUNTED))
    for m, each in enumerate(hits):
        table[:, m, TP], table[:, m, FN], table[:, m, TN], table[:, m, ROWS] = each, 100 - each, 100, 200
    return table


def better(blocks: Blocks, parts: int | None = None) -> bool:
    """Whether the second is better beyond chance."""
    found = figures_of(blocks, ["f1"], parts)["f1"].difference_interval
    return found is not None and found[0] > 0


def test_quantiles_are_those_of_tables() -> None:
    """Student's t at 97.5 %, for 1, 4, 7 and 30 degrees of freedom; many are normal."""
    found = [student(n, 0.95) for n in (2, 5, 8, 31, 100_000)]
    assert found == pytest.approx([12.7062, 2.7764, 2.3646, 2.0423, 1.9623], abs=1e-4)
    assert student(1, 0.95) is None


@pytest.mark.parametrize("drawn", [_even, _all_or_nothing])
@pytest.mark.parametrize("blocks", [8, 20])
def test_few_blocks_of_few_assets_hold_the_level(drawn: Drawn, blocks: int) -> None:
    """2.5 % of pairs that do not differ are better beyond chance, from eight blocks on."""
    rng, owner = np.random.default_rng(blocks), np.zeros(blocks, np.int64)
    found = sum(better(Blocks(owner, counted(drawn(rng, blocks), drawn(rng, blocks)))) for _ in range(ROUNDS))
    assert found / ROUNDS < 0.05


@pytest.mark.parametrize("assets", [5, 10])
def test_differences_of_assets_that_cancel_are_chance(assets: int) -> None:
    """Each machine likes one of both better, and neither is better in all: that is said in 2.5 % of all cases."""
    rng, found = np.random.default_rng(assets), 0
    for _ in range(ROUNDS):
        own = np.repeat(rng.normal(0, 15, assets), 20)
        hits = [np.clip(rng.integers(40, 60, len(own)) + add, 0, 100) for add in (0, own)]
        found += better(Blocks(np.repeat(np.arange(assets), 20), counted(*hits)))
    assert found / ROUNDS < 0.05


@pytest.mark.parametrize("drawn", [_even, _all_or_nothing])
@pytest.mark.parametrize("blocks", [8, 20, 48])
def test_none_of_many_parts_differs_by_chance(drawn: Drawn, blocks: int) -> None:
    """Of 300 parts that do not differ 0.025 in all may be called better; they are called so in no case here."""
    rng, owner = np.random.default_rng(blocks), np.zeros(blocks, np.int64)
    assert not any(better(Blocks(owner, counted(drawn(rng, blocks), drawn(rng, blocks))), 300) for _ in range(300))


def test_a_part_needs_the_more_blocks_the_more_parts_there_are() -> None:
    """As many as a test of signs needs to reach the level, and about three more; then a real difference is seen."""
    least = [next(n for n in range(2, 99) if symmetric(n, 1 - 0.05 / parts)) for parts in (1, 10, 300)]
    assert least == [6, 10, 17]
    rng = np.random.default_rng(0)
    for blocks, is_seen in ((16, False), (24, True)):
        hits = [rng.integers(low, low + 10, blocks).astype(np.float64) for low in (40, 70)]
        assert better(Blocks(np.zeros(blocks, np.int64), counted(*hits)), 300) == is_seen


def test_a_figure_at_its_end_rests_on_the_blocks_that_it_comes_from() -> None:
    """All of three faults against none of three is no proof, although leaving out one of them changes nothing."""
    table = np.zeros((12, 2, COUNTED))
    table[:, :, ROWS], table[:9, :, TN], table[:9, :, FP] = 200, 190, 10
    table[9:, 0, FN], table[9:, 1, TP] = 100, 100
    assert not better(Blocks(np.zeros(12, np.int64), table))
    assert not better(Blocks(np.zeros(12, np.int64), table), 10)
