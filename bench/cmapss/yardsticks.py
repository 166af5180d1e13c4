"""What a model is held to: the clock alone, and what others train in a line, on the same engines and features."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from bench.cmapss.protocols import HEADLINE, MOST, fleet
from cloud_trainer.life import network
from cloud_trainer.life.denoising import learn
from cloud_trainer.life.histories import Floats, Vectors, left_of, vectors

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
    recipe = HEADLINE.recipe
    lives = fleet(folder, "train", trained_on)
    spec = learn(lives, latents=recipe.latents, is_lifelong=True)
    left = np.concatenate([left_of(each) for each in lives.histories])
    rows = np.concatenate(vectors(spec, lives))
    tested = {name: np.array([each[-1] for each in vectors(spec, fleet(folder, "test", [name]))]) for name in asked}
    steps = math.ceil(recipe.epochs * len(rows) / network.BATCH)
    is_clock = np.array([name.startswith(_CLOCK) for name in spec.names])
    found: dict[str, dict[str, Floats]] = {}
    for name, columns in ((CLOCK, is_clock), (NO_CLOCK, ~is_clock)):
        heed = np.where(left > recipe.early, recipe.heed, 1.0)
        one = network.train(rows[:, columns], left, heed, layers=recipe.layers, most=MOST, steps=steps, seed=seed)
        found[name] = {subset: one.predict(each[:, columns]) for subset, each in tested.items()}
    truth = np.minimum(left, MOST)
    for name, model in ((RIDGE, Ridge(1.0)), (TREES, HistGradientBoostingRegressor(random_state=seed))):
        model.fit(_scaled(rows, rows), truth)
        found[name] = {
            subset: np.clip(model.predict(_scaled(each, rows)), 0.0, MOST) for subset, each in tested.items()
        }
    return found


def _scaled(rows: Vectors, like: Vectors) -> Floats:
    return np.asarray((rows - like.mean(axis=0, dtype=np.float64)) / (like.std(axis=0, dtype=np.float64) + 1e-6))
