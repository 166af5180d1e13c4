"""The figures of docs/adr/challengers.md: `python -m tests.cloud_trainer.pool.measure [SEEDS]`."""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from cloud_trainer.making import make
from cloud_trainer.pool.fitting import BATCH, fit
from cloud_trainer.pool.layers import layer, run
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from cloud_trainer.train import train
from tests.cloud_trainer import plant
from tests.cloud_trainer.pool import windows

BUDGET_S = 60.0


def contests(name: str, learn: TrainingSet, recipe: Recipe) -> None:
    """One line a challenger: what it finds, its bytes and microseconds, in float32 and in int8."""
    exact = {c["name"]: c for c in make(learn, recipe).trained.metrics["challengers"]}
    stored = {
        c["name"]: c
        for c in make(learn, recipe.model_copy(update={"precision": "int8"})).trained.metrics["challengers"]
    }
    for one in exact.values():
        line = f"{name:<12} {one['name']:<24} {one['found']:.3f}"
        if one["size_bytes"]:
            other = stored[one["name"]]
            line += (
                f"  {one['size_bytes']:>7,} B {one['microseconds']:>5.1f} µs"
                f"   int8 {other['found']:.3f} {other['size_bytes']:>7,} B {other['microseconds']:>5.1f} µs"
            )
        print(f"{line}   {one['verdict']}", flush=True)


def trainers(learn: TrainingSet) -> None:
    """Our training beside scikit-learn's MLPRegressor: seconds, and squared error on the last windows."""
    from sklearn.neural_network import MLPRegressor  # noqa: PLC0415  slow to load

    found = train(learn, Recipe()).vectors
    fitted = np.concatenate([rows[: len(rows) * 7 // 10] for rows in found.values()])
    last = np.concatenate([rows[len(rows) * 7 // 10 :] for rows in found.values()])
    centre, scale = fitted.mean(axis=0), fitted.std(axis=0)
    x, y = (np.clip((rows - centre) / scale, -8, 8).astype(np.float32) for rows in (fitted, last))
    width = x.shape[1]
    for steps in (400, 800, 1600):
        rng = np.random.default_rng(1)
        sizes = (width, 32, 4, 32, width)
        layers = [layer(rng, 1, a, b, rectified=i in (0, 2)) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))]  # noqa: B905, RUF007  one behind the other
        began = time.perf_counter()
        done = fit(layers, x, lambda rows: (rows[:, None], rows[:, None]), steps=steps, rate=1e-2, noise=0.0, seed=1)
        ours, off = time.perf_counter() - began, run(done, y[:, None])[:, 0] - y
        turns = max(1, round(steps * BATCH / len(x)))
        other = MLPRegressor(
            hidden_layer_sizes=(32, 4, 32),
            batch_size=BATCH,
            learning_rate_init=1e-2,
            max_iter=turns,
            random_state=1,
            tol=0,
            n_iter_no_change=turns + 1,
        )
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            began = time.perf_counter()
            other.fit(x, x)
            theirs, apart = time.perf_counter() - began, other.predict(y) - y
        print(
            f"{steps:>5} steps of {BATCH} rows of {width}: ours {ours:.2f} s, error {np.mean(off**2):.4f}; "
            f"MLPRegressor {theirs:.2f} s, error {np.mean(apart**2):.4f}"
        )


def main(seeds: int) -> None:
    """Print the tables."""
    pumps = plant.training_set(plant.healthy(7, 1200))
    trainers(pumps)
    for seed in range(1, seeds + 1):
        recipe = Recipe(budget_s=BUDGET_S, seed=seed)
        contests(f"pumps {seed}", plant.training_set(plant.healthy(seed, 1200)), recipe)
        turning = recipe.model_copy(update={"window": windows.WINDOW, "step": 4})
        contests(f"turning {seed}", windows.training_set(2_000, 10 * seed), turning)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
