"""What of a model is one asset's own: its scaling, and the threshold from healthy readings that no fit has seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats
from headwater.contract.features import Scaling

_NORMAL_WIDTH = 3.29  # from the 5 % to the 95 % point of the normal distribution, in standard deviations
_LIKE_CLASS = (1 / 8, 2.0)


def centre_and_scale(readings: Floats) -> tuple[Floats, Floats]:
    """Of readings [n, channels], by channel: the median, and the width from the 5 % to the 95 % point over 3.29.

    Not finite where they are beyond all bounds.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        low, centre, high = np.nanquantile(readings, [0.05, 0.5, 0.95], axis=0)
        return centre, (high - low) / _NORMAL_WIDTH


def own_scaling(centre: Floats, scale: Floats, of_class: Floats) -> Scaling:
    """An asset's own centre; its scale from an eighth to twice the class's is taken to be that (train.py, 2.)."""
    low, high = of_class * _LIKE_CLASS[0], of_class * _LIKE_CLASS[1]
    other = np.where(scale > high, scale, low)  # one that stood still in training is not given a scale near zero
    return as_scaling(centre, np.where((scale < low) | (scale > high), other, of_class))


def as_scaling(centre: Floats, scale: Floats) -> Scaling:
    """As a feature specification has it."""
    return Scaling(tuple(centre.tolist()), tuple(scale.tolist()))


def blocks(scores: Floats, recipe: Recipe) -> Floats:
    """Highest sustained score of each block of windows; the last block may be shorter."""
    if len(scores) < recipe.open_after:
        return np.zeros(0)
    sustained = np.lib.stride_tricks.sliding_window_view(scores, recipe.open_after).min(axis=1)
    return np.array([sustained[i : i + recipe.block].max() for i in range(0, len(sustained), recipe.block)])


def floor(of_assets: Iterable[Floats], recipe: Recipe) -> float:
    """The quantile of the blocks of many assets below which no threshold is set (train.py, 5.)."""
    return float(np.quantile(np.concatenate(list(of_assets)), recipe.floor))


def thresholds(of_assets: Mapping[str, Floats], floor: float, recipe: Recipe) -> dict[str, float]:
    """Threshold of each asset that has a block."""
    return {key: max(float(highest.max()), floor) * recipe.margin for key, highest in of_assets.items() if len(highest)}
