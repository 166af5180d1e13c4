"""What one would write in an afternoon with scikit-learn and joblib: a model of its own for each site.

Rolling means and spreads by numpy, a robust scaling, the Mahalanobis distance, and a quantile of the last share as
threshold. It has no network of the class, no windows that a gap ends, no proof of what the edge would compute.
"""

from __future__ import annotations

import time

import numpy as np
from joblib import Parallel, delayed
from sklearn.covariance import EmpiricalCovariance
from sklearn.preprocessing import RobustScaler

from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats, TrainingSet

_FLOOR = 1e-3
_QUANTILE = 0.99


def _fit(values: Floats, recipe: Recipe) -> float:
    at = int(len(values) * (1 - recipe.holdout))
    scaled = RobustScaler().fit(values[:at]).transform(values)
    windows = np.lib.stride_tricks.sliding_window_view(scaled, recipe.window, axis=0)[:: recipe.step]
    features = np.concatenate([windows.mean(axis=2), np.log(windows.std(axis=2) + _FLOOR)], axis=1)
    fitted = at // recipe.step
    model = EmpiricalCovariance().fit(features[:fitted])
    return float(np.quantile(model.mahalanobis(features[fitted:]), _QUANTILE))


def seconds(learn: TrainingSet, recipe: Recipe, workers: int) -> float:
    """Wall time for all sites, with the start of the workers."""
    began = time.perf_counter()
    Parallel(n_jobs=workers)(delayed(_fit)(one.values, recipe) for one in learn.series.values())
    return time.perf_counter() - began
