"""Who ships: ridge, unless a network is off by less beyond chance on assets that neither has seen; yardsticks never."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cloud_trainer.life import contest, training
from cloud_trainer.life.contest import CLOCK, NETWORK, RIDGE, TREES, Trial
from cloud_trainer.life.histories import Fleet, History
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.life.training import Checked
from headwater.contract.errors import GateFailed
from headwater.transport import cmapss
from tests.cloud_trainer.life.engines import fleet

SMALL = LifeRecipe(most=80, warn=15, epochs=20, layers=(8,), latents=(1, 2), settings=("height", "kind"))
CMAPSS = Path(__file__).parents[4] / "shared" / "data" / "cmapss"


def checked(lives: Fleet, off: np.ndarray) -> Checked:
    """Predictions that are off by so many cycles in each life, three rows each."""
    life = np.repeat(np.arange(len(lives.histories)), 3)
    left = np.tile([40.0, 30.0, 20.0], len(lives.histories))
    return Checked(life, left + np.repeat(off, 3), left)


def test_everybody_is_told_of_and_only_who_may_ships() -> None:
    """Ridge or network ships; trees and clock are in the table and never do."""
    outcome = contest.run(fleet(20, 1), SMALL)
    rows = {each["name"]: each for each in outcome.report["challengers"]}
    assert set(rows) == {RIDGE, NETWORK, TREES, CLOCK}
    assert outcome.trial.family in (RIDGE, NETWORK)
    for yardstick in (TREES, CLOCK):
        assert rows[yardstick]["verdict"] == "a yardstick, never ships"
    assert sum(each["verdict"] == "ships" for each in outcome.report["challengers"]) == 1
    assert rows[CLOCK]["rmse"] > rows[RIDGE]["rmse"]


def test_a_network_that_is_better_by_chance_alone_does_not_ship() -> None:
    """Off by less in half of the assets and by more in the other half: ridge. By less in nearly all: the network."""
    lives, rng = fleet(30, 2), np.random.default_rng(4)
    ridge, network = Trial(RIDGE, 2), Trial(NETWORK, 2)
    noise = rng.normal(size=30)
    for better, ships in ((0.3, ridge), (4.0, network)):
        there = {ridge: checked(lives, np.full(30, 8.0)), network: checked(lives, 8.0 - better + 2 * noise)}
        chosen = contest._chosen(lives, there, SMALL)
        assert chosen == ships


def test_whole_assets_are_left_out() -> None:
    """Lives of one asset are never on both sides, and each is left out once."""
    lives = fleet(12, 3)._replace(owners=(0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6))
    seen: list[int] = []
    for inside, out in training.folds(lives, 5):
        assert not {lives.owners[i] for i in inside} & {lives.owners[i] for i in out}
        assert sorted(inside + out) == list(range(12))
        seen += out
    assert sorted(seen) == list(range(12))


def test_the_margin_counts_assets_and_not_lives() -> None:
    """Thirty lives of two assets say as little as two do."""
    lives = fleet(30, 2)
    one, other = checked(lives, np.full(30, 6.0)), checked(lives, np.linspace(4, 5, 30))
    assert contest.margin(lives, one, other, SMALL) > 0
    few = lives._replace(owners=(0,) * 29 + (1,))
    assert contest.margin(few, one, checked(few, np.append(np.full(29, 4.0), 5.9)), SMALL) < 0
    assert contest.margin(lives._replace(owners=(0,) * 30), one, other, SMALL) == -np.inf


def test_the_budget_leaves_out_by_sizes_alone() -> None:
    """Nothing but ridge and the clock for nothing; all for enough; what is left out is counted."""
    none = contest.plan(SMALL.model_copy(update={"budget_s": 0.0}), 10_000, 14)
    assert {trial.family for trial in none.trials} == {RIDGE, CLOCK}
    assert none.left_out == {NETWORK: 2, TREES: 1}
    assert not contest.plan(SMALL, 10_000, 14).left_out
    assert {trial.latents for trial in contest.plan(SMALL, 100, 1).trials} == {1}


def test_a_challenger_that_cannot_be_fitted_is_out_with_its_reason() -> None:
    """Three sensors move: four latents are too many. Where nothing can be fitted it is said."""
    outcome = contest.run(fleet(12, 1), SMALL.model_copy(update={"latents": (2, 4), "budget_s": 0.0}))
    assert outcome.trial == Trial(RIDGE, 2)
    assert outcome.report["contest"]["failed"] == {
        "life-ridge of 4 latents": "3 sensors move, 4 latents are asked for",
        "clock of 4 latents": "3 sensors move, 4 latents are asked for",
    }
    with pytest.raises(GateFailed, match="no model can be fitted: 3 sensors move"):
        contest.run(fleet(12, 1), SMALL.model_copy(update={"latents": (4,), "budget_s": 0.0}))


@pytest.mark.skipif(not CMAPSS.is_dir(), reason="the recordings are not beside this checkout")
def test_on_turbofans_the_network_ships() -> None:
    """The training engines of FD001: it beats ridge beyond chance, and the clock is far behind."""
    units = cmapss.units(CMAPSS, "train", "FD001")
    engines = Fleet(cmapss.SETTINGS, cmapss.SENSORS, [History(unit.settings, unit.sensors) for unit in units])
    outcome = contest.run(engines, LifeRecipe(settings=cmapss.SETTINGS, latents=(2,), epochs=20, folds=3))
    rmse = {each["name"]: each["rmse"] for each in outcome.report["challengers"]}
    assert outcome.trial.family == NETWORK
    assert rmse[NETWORK] < 0.9 * rmse[RIDGE]
    assert rmse[CLOCK] > 2 * rmse[NETWORK]
