"""What a model is held to: the clock alone, and what others train in a line, on the same engines and features."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.cmapss.protocols import HEADLINE, MOST, fleet
from cloud_trainer.life import contest, network, training
from cloud_trainer.life.histories import Floats, vectors

CLOCK, NO_CLOCK, RIDGE, TREES = (
    "the clock alone",
    "network without the clock, pair",
    "ridge, pair",
    "boosted trees, pair",
)
NAMES = (CLOCK, NO_CLOCK, RIDGE, TREES)
_CLOCK = ("age", "log_age", "settled")


def answers(
    folder: Path, trained_on: tuple[str, ...], asked: tuple[str, ...], seed: int
) -> dict[str, dict[str, Floats]]:
    """Remaining cycles after the last row of each test engine, by yardstick and set; seed 0 in all but the networks."""
    recipe = training.with_latents(HEADLINE.recipe, max(HEADLINE.recipe.latents))
    lives = fleet(folder, "train", trained_on)
    given = training.features(lives, recipe)
    tests = {name: vectors(given.spec, fleet(folder, "test", [name])) for name in asked}
    tested = {name: np.array([each[-1] for each in found]) for name, found in tests.items()}
    is_clock = np.array([name.startswith(_CLOCK) for name in given.spec.names])
    found: dict[str, dict[str, Floats]] = {}
    for name, columns in ((CLOCK, is_clock), (NO_CLOCK, ~is_clock)):
        one = training.fit(given._replace(rows=given.rows[:, columns]), recipe, seed)
        found[name] = {subset: one.predict(each[:, columns]) for subset, each in tested.items()}
    ridge, trees = network.ridge(given.rows, given.left, most=MOST), contest.trees(given, recipe)
    found[RIDGE] = {subset: ridge.predict(each) for subset, each in tested.items()}
    found[TREES] = {subset: trees(each) for subset, each in tested.items()}
    return found
