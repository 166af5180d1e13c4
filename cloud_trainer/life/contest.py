"""Who says best how many cycles remain: challengers on assets that none of them was trained on.

Each is fitted to some of the assets and asked about the others, whole ones (training.folds). What is compared is the
squared error, with what was left cut to `most`. Ridge regression ships, as a network of one layer, unless a network is
off by less beyond chance: the lower bound of how much less, asset by asset, is above zero (one-sided, 95 % for the
networks together, Student's t). Boosted trees and the clock alone are yardsticks and never ship.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from cloud_trainer.judging.intervals import student
from cloud_trainer.life import network, training
from cloud_trainer.life.histories import Fleet, Floats, Vectors, vectors
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.life.training import Checked, Featured, LifeModel
from headwater.contract.errors import GateFailed

RIDGE, NETWORK, TREES, CLOCK = "life-ridge", "life-network", "boosted-trees", "clock"
_SHIP = (RIDGE, NETWORK)
_CONFIDENCE = 0.9  # two-sided; 95 % on one side
# Seconds on the reference core: of a cycle's features, of a step of a network with 3,300 numbers, of a cycle in trees.
_OF_FEATURES, _OF_STEP, _OF_TREES = 1.5e-5, 3e-4, 3e-5
_NUMBERS = 3_300
_NOTHING: Checked = Checked(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

Tell = Callable[[int], None]
Says = Callable[[Vectors, Floats], Floats]  # remaining cycles by features and cycles since the overhaul


class Trial(NamedTuple):
    """One challenger: its kind, and how many latents its features have."""

    family: str
    latents: int


@dataclass
class Plan:
    """What is tried, and what the budget leaves out, by kind; `seconds` of the reference core."""

    trials: list[Trial]
    seconds: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)


class Outcome(NamedTuple):
    """Who ships, what it said of assets left out, and what became of all, as a manifest tells it."""

    trial: Trial
    checked: Checked
    report: dict[str, Any]


def plan(recipe: LifeRecipe, cycles: int, sensors: int) -> Plan:
    """What is tried, by sizes alone, so that the same lives give the same model however long it takes."""
    latents = sorted({min(each, sensors) for each in recipe.latents})
    found = Plan([*(Trial(RIDGE, each) for each in latents), Trial(CLOCK, latents[-1])])
    found.seconds = len(latents) * recipe.folds * cycles * _OF_FEATURES
    for trial in (*(Trial(NETWORK, each) for each in reversed(latents)), Trial(TREES, latents[-1])):
        cost = _seconds(trial, recipe, cycles)
        if found.seconds + cost <= recipe.budget_s:
            found.trials.append(trial)
            found.seconds += cost
        else:
            found.left_out[trial.family] = found.left_out.get(trial.family, 0) + 1
    return found


def run(fleet: Fleet, recipe: LifeRecipe, tell: Tell = lambda _: None) -> Outcome:
    """Cross-validate every challenger and choose; GateFailed where none can be fitted. `tell` gets folds done."""
    planned = plan(recipe, sum(len(each.sensors) for each in fleet.histories), len(fleet.sensors))
    says: dict[Trial, dict[int, Floats]] = {trial: {} for trial in planned.trials}
    failed: dict[Trial, str] = {}
    for number, (inside, out) in enumerate(training.folds(fleet, recipe.folds), start=1):
        for latents in sorted({trial.latents for trial in planned.trials}):
            mine = [trial for trial in planned.trials if trial.latents == latents]
            try:
                for trial, found in _fold(fleet.some(inside), fleet.some(out), mine, recipe):
                    says[trial].update(zip(out, found, strict=True))
            except GateFailed as error:
                failed.update(dict.fromkeys(mine, str(error)))
        tell(number)
    there = {t: training.checked(fleet, found, recipe) for t, found in says.items() if t not in failed}
    if not any(trial.family == RIDGE for trial in there):
        raise GateFailed(f"no model can be fitted: {next(iter(failed.values()))}", hint="which channels are sensors?")
    chosen = _chosen(fleet, there, recipe)
    return Outcome(chosen, there[chosen], _report(planned, there, failed, chosen, recipe))


def fitted(fleet: Fleet, trial: Trial, recipe: LifeRecipe) -> LifeModel:
    """The model that ships, from all lives."""
    chosen = training.with_latents(recipe, trial.latents)
    given = training.features(fleet, chosen)
    if trial.family == RIDGE:
        return LifeModel(given.spec, network.ridge(given.rows, given.left, most=recipe.most))
    return LifeModel(given.spec, training.fit(given, chosen, recipe.seed))


def trees(given: Featured, recipe: LifeRecipe) -> Callable[[Vectors], Floats]:
    """Boosted trees on the same features (scikit-learn's, as they come)."""
    return _grown(given.rows, given.left, recipe)


def _clock(fleet: Fleet, given: Featured, recipe: LifeRecipe) -> Says:
    """Boosted trees on the cycles since the overhaul and nothing else."""
    grown = _grown(np.concatenate([_cycles(len(each.sensors)) for each in fleet.histories]), given.left, recipe)
    return lambda _, cycles: grown(cycles)


def _grown(rows: Vectors | Floats, left: Floats, recipe: LifeRecipe) -> Callable[[Vectors | Floats], Floats]:
    with threadpool_limits(1):  # more wait for each other where the cores are not theirs alone
        model = HistGradientBoostingRegressor(random_state=recipe.seed)
        model.fit(rows, np.minimum(left, recipe.most))

    def says(asked: Vectors | Floats) -> Floats:
        with threadpool_limits(1):
            return np.asarray(np.clip(model.predict(asked), 0.0, recipe.most))

    return says


def _cycles(count: int) -> Floats:
    return np.arange(1, count + 1, dtype=np.float64)[:, None]


def _fold(
    inside: Fleet, out: Fleet, trials: Sequence[Trial], recipe: LifeRecipe
) -> Iterator[tuple[Trial, list[Floats]]]:
    """What each of these, which have as many latents, says of every life left out."""
    chosen = training.with_latents(recipe, trials[0].latents)
    given = training.features(inside, chosen)
    rows = vectors(given.spec, out)
    for trial in trials:
        says = _fit(trial.family, inside, given, chosen)
        yield trial, [says(each, _cycles(len(each))) for each in rows]


def _fit(family: str, inside: Fleet, given: Featured, recipe: LifeRecipe) -> Says:
    if family == CLOCK:
        return _clock(inside, given, recipe)
    if family == TREES:
        grown = trees(given, recipe)
        return lambda rows, _: grown(rows)
    if family == RIDGE:
        one = network.ridge(given.rows, given.left, most=recipe.most)
    else:
        one = training.fit(given, recipe, recipe.seed)
    return lambda rows, _: one.predict(rows)


def _chosen(fleet: Fleet, there: dict[Trial, Checked], recipe: LifeRecipe) -> Trial:
    """The ridge that is off by least, or the network that is, where it beats that ridge beyond chance."""

    def nearest(family: str) -> Trial | None:
        mine = [trial for trial in there if trial.family == family]
        return mine[training.best([there[trial] for trial in mine], recipe)] if mine else None

    first, other = nearest(RIDGE), nearest(NETWORK)
    if first is None:
        raise GateFailed("no ridge was fitted")
    if other is None:
        return first
    tried = sum(trial.family == NETWORK for trial in there)
    return other if margin(fleet, there[first], there[other], recipe, tried) > 0 else first


def margin(fleet: Fleet, one: Checked, other: Checked, recipe: LifeRecipe, tried: int = 1) -> float:
    """Lower bound of how much less the `other` is off, in cycles squared a row, mean over assets; -inf for one asset.

    `tried`: of how many the other is the best one (Bonferroni).
    """
    owners = np.array(fleet.owner_of)
    apart = training.squares(one, recipe.most) - training.squares(other, recipe.most)
    whose = owners[one.life]
    by_asset = np.array([apart[whose == owner].mean() for owner in np.unique(whose)])
    width = student(len(by_asset), 1 - (1 - _CONFIDENCE) / tried)
    if width is None:
        return -math.inf
    return float(by_asset.mean() - width * by_asset.std(ddof=1) / math.sqrt(len(by_asset)))


def _seconds(trial: Trial, recipe: LifeRecipe, cycles: int) -> float:
    if trial.family == TREES:
        return recipe.folds * cycles * _OF_TREES
    widths = (12 * trial.latents, *recipe.layers, 1)
    size = sum(a * b for a, b in pairwise(widths))
    return recipe.folds * recipe.epochs * cycles / network.BATCH * _OF_STEP * max(0.3, size / _NUMBERS)


def _report(
    planned: Plan, there: dict[Trial, Checked], failed: dict[Trial, str], chosen: Trial, recipe: LifeRecipe
) -> dict[str, Any]:
    rmse = {t: round(float(np.sqrt(np.mean(training.squares(one, recipe.most)))), 4) for t, one in there.items()}
    rows = [
        {
            "name": trial.family,
            "latents": None if trial.family == CLOCK else trial.latents,
            "rmse": off,
            "verdict": _verdict(trial, chosen, rmse),
        }
        for trial, off in sorted(rmse.items(), key=lambda item: item[1])
    ]
    asked = there.get(chosen, _NOTHING)
    contest = {
        "figure": "rmse",
        "lives_compared": len(np.unique(asked.life)),
        "cycles_compared": len(asked.life),
        "folds": recipe.folds,
        "budget_s": recipe.budget_s,
        "planned_s": round(planned.seconds, 1),
        "left_out_by_budget": planned.left_out,
        "failed": {f"{trial.family} of {trial.latents} latents": why for trial, why in failed.items()},
    }
    return {"challengers": rows, "contest": contest}


def _verdict(trial: Trial, chosen: Trial, rmse: dict[Trial, float]) -> str:
    if trial == chosen:
        return "ships"
    if trial.family not in _SHIP:
        return "a yardstick, never ships"
    if rmse[trial] >= rmse[chosen]:
        return f"{chosen.family} of {chosen.latents} latents is off by less"
    return "not better than ridge beyond chance"
