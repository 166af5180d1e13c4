"""A model of what healthy looks like, for one asset class, and thresholds from healthy readings it has not seen.

1. Each asset's readings are divided by time: the first part is fitted, the last is held out.
2. Scaling: centre = median, scale = the width from the 5 % to the 95 % point over 3.29 (one standard deviation of a
   normal variable). A load that stands still for minutes leaves few independent values, so the scale of one asset is
   a poor estimate, and a narrow one says little: from an eighth to twice the class's median it is taken to be that.
3. Covariance of the feature vectors of all assets, with a share of each variance added to the diagonal. Healthy
   machines drift (ambient temperature, fouling): the difference between the first and the second half of the
   fitted range, as an outer product over the assets, is extrapolated over `horizon` lengths of that range and
   added. The model goes deaf in the directions in which healthy machines wander, and in no other.
4. Score: the root of T² per feature (linear.py).
5. Thresholds: the held-out windows are divided into blocks; an observation is the highest level that a block's scores
   kept for `open_after` windows in a row, which is what opens an alarm. An asset's threshold is `margin` times its
   highest observation, or times the class's `floor` quantile if that is higher; an asset without any gets `margin`
   times the highest of all. The margin stands for what a short range has not shown.

The same readings give the same bytes: no randomness, and sums in a fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloud_trainer.linear import Linear, product, whitening
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats, Series, TrainingSet, Vectors, Windows, cut, usable_channels, vectors
from headwater.contract.errors import GateFailed
from headwater.contract.features import CLASS_WIDE, FeatureSpec, Scaling

ALGORITHM = "hotelling-t2"
_NORMAL_WIDTH = 3.29  # from the 5 % to the 95 % point of the normal distribution, in standard deviations
_LIKE_CLASS = (1 / 8, 2.0)
_LEAST_OF_CENTRE = 1e-4
_LEAST_VARIANCE = 1e-6  # for features that never moved
_LEAST_HALF = 4  # windows in each half of a range before their difference is called drift


@dataclass(frozen=True)
class Trained:
    """A model with everything that an edge needs to apply it; thresholds are keyed as the scaling is."""

    spec: FeatureSpec
    linear: Linear
    thresholds: dict[str, float]
    metrics: dict[str, Any]
    vectors: Mapping[str, Vectors]  # of every window of the training set, in log order


@dataclass(frozen=True)
class _Split:
    """One asset's windows: all, those fitted and those held out, with its fitted readings [n, channels]."""

    windows: Windows
    fitted: Windows
    held_out: Windows
    readings: Floats


def train(learn: TrainingSet, recipe: Recipe) -> Trained:
    """Fit a model and set its thresholds; GateFailed when there are too few healthy windows."""
    channels = usable_channels(learn, recipe)
    splits = {key: _split(series, learn.channels, channels, recipe) for key, series in sorted(learn.series.items())}
    splits, wild = _without_wild(splits)
    width = 2 * len(channels)
    fitted_windows = sum(len(split.fitted) for split in splits.values())
    if fitted_windows < recipe.least * width:
        raise GateFailed(
            f"{fitted_windows} healthy windows of the class {learn.asset_class} to fit, {recipe.least * width} needed",
            hint="name a longer range, or wait until there are more readings",
        )
    spec = FeatureSpec(channels, recipe.window, recipe.step, _scaling(splits), recipe.max_gap_s, recipe.hold)
    spec.check()
    every = {key: vectors(spec, key, split.windows) for key, split in splits.items()}
    if not all(np.isfinite(rows).all() for rows in every.values()):
        raise GateFailed(f"readings of {learn.asset_class} are too large for a model", hint="check the sensors' units")
    fitted = {key: vectors(spec, key, split.fitted) for key, split in splits.items() if len(split.fitted)}
    linear = _fit(fitted, recipe)
    held_out = {key: vectors(spec, key, split.held_out) for key, split in splits.items()}
    blocks = {key: _blocks(linear.score(rows)[0], recipe) for key, rows in held_out.items()}
    thresholds = _thresholds(blocks, recipe)
    metrics = {
        "assets": len(splits),
        "readings": sum(len(series) for series in learn.series.values()),
        "windows_fitted": fitted_windows,
        "windows_held_out": sum(map(len, held_out.values())),
        "blocks_held_out": sum(map(len, blocks.values())),
        "highest_held_out": thresholds[CLASS_WIDE] / recipe.margin,
        "assets_left_out": wild,
        "channels_left_out": sorted(set(learn.channels) - set(channels)),
        "recipe": recipe.model_dump(),
    }
    return Trained(spec, linear, thresholds, metrics, every)


def _split(series: Series, given: tuple[str, ...], channels: tuple[str, ...], recipe: Recipe) -> _Split:
    windows = cut(series, given, channels, recipe)
    columns = [given.index(channel) for channel in channels]
    at = int(len(series) * (1 - recipe.holdout))
    fitted, held_out = windows.between(0, at), windows.between(at, len(series))
    return _Split(windows, fitted, held_out, series.values[:at][:, columns])


def _without_wild(splits: Mapping[str, _Split]) -> tuple[dict[str, _Split], list[str]]:
    """The assets that can be scaled, and the names of the others: one broken sensor must not end a class's training."""
    wild = [
        key
        for key, split in splits.items()
        if len(split.fitted) and not all(np.isfinite(part).all() for part in _centre_and_scale(split))
    ]
    return {key: split for key, split in splits.items() if key not in wild}, wild


def _centre_and_scale(split: _Split) -> tuple[Floats, Floats]:
    """Of one asset's own readings, by channel (see 2. above); not finite where they are beyond all bounds."""
    with np.errstate(over="ignore", invalid="ignore"):
        low, centre, high = np.nanquantile(split.readings, [0.05, 0.5, 0.95], axis=0)
        return centre, (high - low) / _NORMAL_WIDTH


def _scaling(splits: Mapping[str, _Split]) -> dict[str, Scaling]:
    """Centre and scale of each asset that has windows, and of the class (see 2. above)."""
    found_of = {key: _centre_and_scale(split) for key, split in splits.items() if len(split.fitted)}
    centres = {key: centre for key, (centre, _) in found_of.items()}
    own = {key: scale for key, (_, scale) in found_of.items()}
    class_centre = np.median(list(centres.values()), axis=0)
    least = np.maximum(np.abs(class_centre) * _LEAST_OF_CENTRE, 1e-9)
    of_class = np.maximum(np.median(list(own.values()), axis=0), least)
    found = {CLASS_WIDE: _as_scaling(class_centre, of_class)}
    for key, scale in own.items():
        low, high = of_class * _LIKE_CLASS[0], of_class * _LIKE_CLASS[1]
        other = np.where(scale > high, scale, low)  # one that stood still in training is not given a scale near zero
        found[key] = _as_scaling(centres[key], np.where((scale < low) | (scale > high), other, of_class))
    return found


def _as_scaling(centre: Floats, scale: Floats) -> Scaling:
    return Scaling(tuple(centre.tolist()), tuple(scale.tolist()))


def _fit(fitted: Mapping[str, Vectors], recipe: Recipe) -> Linear:
    rows = np.concatenate([part.astype(np.float64) for part in fitted.values()])
    mean = rows.mean(axis=0)
    centred = rows - mean
    covariance = product(centred.T, centred) / (len(rows) - 1)
    covariance += np.diag(np.diag(covariance) * recipe.shrink + _LEAST_VARIANCE)
    return whitening(mean, covariance + _drift(fitted, recipe.horizon))


def _drift(fitted: Mapping[str, Vectors], horizon: float) -> Floats:
    """Covariance of the drift to expect: half-to-half differences, carried on over `horizon` fitted ranges.

    The middles of the halves are half a range apart, so a steady drift covers 2 * `horizon` such differences.
    """
    width = next(iter(fitted.values())).shape[1]
    moved = [_moved(rows.astype(np.float64)) for rows in fitted.values() if len(rows) >= 2 * _LEAST_HALF]
    if not moved:
        return np.zeros((width, width))
    steps = np.array(moved) * (2 * horizon)
    return product(steps.T, steps) / len(steps)


def _moved(rows: Floats) -> Floats:
    half = len(rows) // 2
    return np.asarray(rows[half:].mean(axis=0) - rows[:half].mean(axis=0))


def _blocks(scores: Floats, recipe: Recipe) -> Floats:
    """Highest sustained score of each block of windows; the last block may be shorter."""
    if len(scores) < recipe.open_after:
        return np.zeros(0)
    sustained = np.lib.stride_tricks.sliding_window_view(scores, recipe.open_after).min(axis=1)
    return np.array([sustained[i : i + recipe.block].max() for i in range(0, len(sustained), recipe.block)])


def _thresholds(blocks: Mapping[str, Floats], recipe: Recipe) -> dict[str, float]:
    everything = np.concatenate(list(blocks.values()))
    if not len(everything):
        raise GateFailed("no healthy window was left to set thresholds with", hint="name a longer range")
    floor = float(np.quantile(everything, recipe.floor))
    found = {CLASS_WIDE: float(everything.max()) * recipe.margin}
    for key, highest in blocks.items():
        if len(highest):
            found[key] = max(float(highest.max()), floor) * recipe.margin
    return found
