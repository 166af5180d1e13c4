"""Healthy windows for tests: one state of work that turns in a circle, which the channels see through bent glasses."""

from __future__ import annotations

import numpy as np

from cloud_trainer.series import Floats, Series, TrainingSet
from headwater.contract.manifest import Dataset

CHANNELS = ("flow", "pressure", "speed")
WINDOW = 16


def turning(rows: int, seed: int) -> Floats:
    """Readings [rows, 3] that follow an angle: its cosine, its sine, and the cosine of its double, with noise."""
    rng = np.random.default_rng(seed)
    angle = np.cumsum(rng.normal(0.04, 0.05, rows))
    clean = np.stack([np.cos(angle), np.sin(angle), np.cos(2 * angle)], axis=1)
    return np.asarray(clean + rng.normal(0, 0.05, clean.shape))


def windows(rows: int, seed: int, step: int = 4) -> Floats:
    """Windows [n, WINDOW, 3] of such readings."""
    found = np.lib.stride_tricks.sliding_window_view(turning(rows, seed), WINDOW, axis=0)[::step]
    return np.ascontiguousarray(found.transpose(0, 2, 1))


def training_set(rows: int, seed: int = 1, assets: int = 2) -> TrainingSet:
    """A class of machines that work so."""
    series = {
        f"lyon/rig-{n}": Series(
            np.arange(rows, dtype=np.int64) * 1000, turning(rows, seed + n), np.zeros(rows, dtype=np.int64)
        )
        for n in range(assets)
    }
    return TrainingSet("rig", CHANNELS, series, Dataset({}, "", rows * assets))
