"""A model of what healthy looks like, for one asset class, and thresholds from healthy readings it has not seen.

1. Each asset's readings are divided by time: the first part is fitted, the last is held out.
2. Scaling: centre = median, scale = the width from the 5 % to the 95 % point over 3.29 (one standard deviation of a
   normal variable). A load that stands still for minutes leaves few independent values, so the scale of one asset is
   a poor estimate, and a narrow one says little: from an eighth to twice the class's median it is taken to be that.
3. Covariance of the feature vectors of all assets, with a share of each variance added to the diagonal. Healthy
   machines drift (ambient temperature, fouling): the difference between the first and the second half of the
   fitted range, as an outer product over the assets, is extrapolated over `horizon` lengths of that range and
   added. The model goes deaf in the directions in which healthy machines wander, and in no other.
4. Score: the root of T² per feature (linear.py). With a budget other detectors compete with it (pool/search.py).
5. Thresholds: the held-out windows are divided into blocks; an observation is the highest level that a block's scores
   kept for `open_after` windows in a row, which is what opens an alarm. An asset's threshold is `margin` times its
   highest observation, or times the class's `floor` quantile if that is higher; an asset without any gets `margin`
   times the highest of all. The margin stands for what a short range has not shown.

The same readings and recipe give the same bytes: what is drawn is drawn from a seed, and sums have a fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from cloud_trainer import asset
from cloud_trainer.calibration.limits import steady
from cloud_trainer.pool.detector import Detector
from cloud_trainer.pool.hotelling import T2, LinearDetector, whiten
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats, Series, TrainingSet, Vectors, Windows, cut, usable_channels, vectors
from headwater.contract.errors import BadSetting, GateFailed
from headwater.contract.features import CLASS_WIDE, FeatureSpec, Scaling

_LEAST_OF_CENTRE = 1e-4
_STILL = 1e-4  # in scales of a channel, the least of which is that share of its centre


@dataclass(frozen=True)
class Trained:
    """A model with everything that an edge needs to apply it; thresholds are keyed as the scaling is."""

    algorithm: str
    spec: FeatureSpec
    detector: Detector
    thresholds: dict[str, float]
    metrics: dict[str, Any]
    vectors: Mapping[str, Vectors]  # of every window of the training set, in log order
    windows: Mapping[str, Floats]  # these windows [n, window, channels], in channel units


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
    if recipe.alarms_a_week is not None:
        channels = _steady(learn, channels)
    splits = {key: _split(series, learn.channels, channels, recipe) for key, series in sorted(learn.series.items())}
    splits, wild = _without_wild(splits)
    _check_count(learn, splits, recipe.least * 2 * len(channels))
    spec = FeatureSpec(channels, recipe.window, recipe.step, _scaling(splits), recipe.max_gap_s, recipe.hold)
    spec.check()
    summaries = {key: vectors(spec, key, split.windows) for key, split in splits.items()}
    if not all(np.isfinite(rows).all() for rows in summaries.values()):
        raise GateFailed(f"readings of {learn.asset_class} are too large for a model", hint="check the sensors' units")
    _check_moving(learn, spec, splits)
    algorithm, detector, report = _fit(spec, splits, recipe)
    every = summaries
    if detector.layout == "window":
        spec = msgspec.structs.replace(spec, layout="window")
        every = {key: vectors(spec, key, split.windows) for key, split in splits.items()}
    held_out = {key: vectors(spec, key, split.held_out) for key, split in splits.items()}
    blocks = {key: asset.blocks(detector.levels(rows), recipe) for key, rows in held_out.items()}
    thresholds = _thresholds(blocks, recipe)
    metrics = {
        "assets": len(splits),
        "readings": sum(len(series) for series in learn.series.values()),
        "windows_fitted": sum(len(split.fitted) for split in splits.values()),
        "windows_held_out": sum(map(len, held_out.values())),
        "blocks_held_out": sum(map(len, blocks.values())),
        "highest_held_out": thresholds[CLASS_WIDE] / recipe.margin,
        "assets_left_out": wild,
        "channels_left_out": sorted(set(learn.channels) - set(channels)),
        "recipe": recipe.model_dump(),
        **report,
    }
    windows = {key: split.windows.values for key, split in splits.items()}
    return Trained(algorithm, spec, detector, thresholds, metrics, every, windows)


def _steady(learn: TrainingSet, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Of these the channels that alarms which follow the machine can be made of."""
    columns = [learn.channels.index(channel) for channel in channels]
    machines = [rows for one in learn.series.values() if len(rows := _whole(one.values[:, columns])) > 1]
    kept = steady(machines) if machines else [True] * len(channels)
    return tuple(channel for channel, is_kept in zip(channels, kept, strict=True) if is_kept)


def _whole(values: Floats) -> Floats:
    return np.asarray(values[np.isfinite(values).all(axis=1)])


def _split(series: Series, given: tuple[str, ...], channels: tuple[str, ...], recipe: Recipe) -> _Split:
    windows = cut(series, given, channels, recipe)
    columns = [given.index(channel) for channel in channels]
    at = int(len(series) * (1 - recipe.holdout))
    fitted, held_out = windows.between(0, at), windows.between(at, len(series))
    return _Split(windows, fitted, held_out, series.values[:at][:, columns])


def _check_count(learn: TrainingSet, splits: Mapping[str, _Split], least: int) -> None:
    """GateFailed where fewer windows than `least` may be fitted."""
    fitted = sum(len(split.fitted) for split in splits.values())
    if fitted < least:
        raise GateFailed(
            f"{fitted} healthy windows of the class {learn.asset_class} to fit, {least} needed",
            hint="name a longer range, or wait until there are more readings",
        )


def _check_moving(learn: TrainingSet, spec: FeatureSpec, splits: Mapping[str, _Split]) -> None:
    """GateFailed where every asset stands still in what is fitted: that says nothing of healthy limits."""
    fitted = {key: split.fitted.values for key, split in splits.items() if len(split.fitted)}
    if any(
        (np.ptp(each, axis=(0, 1)) > _STILL * np.array(spec.scaling_of(k).scale)).any() for k, each in fitted.items()
    ):
        return
    key = min(fitted)
    levels = ", ".join(f"{c} {v:g}" for c, v in zip(spec.channels, fitted[key][-1][-1].tolist(), strict=True))
    raise GateFailed(
        f"every channel of {learn.asset_class} stands still in the readings to fit ({key}: {levels}): they do not say "
        "how far a healthy machine goes",
        hint="name a range in which the machines run, or look after the sensors (headwater train dataset check: flat)",
    )


def _without_wild(splits: Mapping[str, _Split]) -> tuple[dict[str, _Split], list[str]]:
    """The assets that can be scaled, and the names of the others: one broken sensor must not end a class's training."""
    wild = [
        key
        for key, split in splits.items()
        if len(split.fitted) and not all(np.isfinite(part).all() for part in asset.centre_and_scale(split.readings))
    ]
    return {key: split for key, split in splits.items() if key not in wild}, wild


def _scaling(splits: Mapping[str, _Split]) -> dict[str, Scaling]:
    """Centre and scale of each asset that has windows, and of the class (see 2. above)."""
    found_of = {key: asset.centre_and_scale(split.readings) for key, split in splits.items() if len(split.fitted)}
    class_centre = np.median([centre for centre, _ in found_of.values()], axis=0)
    least = np.maximum(np.abs(class_centre) * _LEAST_OF_CENTRE, 1e-9)
    of_class = np.maximum(np.median([scale for _, scale in found_of.values()], axis=0), least)
    own = {key: asset.own_scaling(centre, scale, of_class) for key, (centre, scale) in found_of.items()}
    return {CLASS_WIDE: asset.as_scaling(class_centre, of_class), **own}


def _fit(spec: FeatureSpec, splits: Mapping[str, _Split], recipe: Recipe) -> tuple[str, Detector, dict[str, Any]]:
    """Name and detector of what ships, and what is said of the contest: T² alone where there is no budget for one."""
    if not recipe.budget_s:
        rows = {key: vectors(spec, key, split.fitted) for key, split in splits.items() if len(split.fitted)}
        return T2, LinearDetector(whiten(rows, recipe.shrink, recipe.horizon)), {}
    fitted = {key: _scaled(spec, key, split.fitted) for key, split in splits.items() if len(split.fitted)}
    held_out = {key: _scaled(spec, key, split.held_out) for key, split in splits.items() if len(split.held_out)}
    try:
        from cloud_trainer.pool import search  # noqa: PLC0415  what it needs is in the extra `train`
    except ImportError as error:
        raise BadSetting(
            f"trainer.recipe.budget_s asks for a contest, which needs {error.name}", hint="install the extra `train`"
        ) from error
    outcome = search.run(fitted, held_out, recipe)
    return outcome.name, outcome.detector, outcome.report


def _scaled(spec: FeatureSpec, key: str, windows: Windows) -> Floats:
    scaling = spec.scaling_of(key)
    return np.asarray((windows.values - scaling.centre) / scaling.scale)


def _thresholds(blocks: Mapping[str, Floats], recipe: Recipe) -> dict[str, float]:
    there = [each for each in blocks.values() if len(each)]
    if not there:
        raise GateFailed("no healthy window was left to set thresholds with", hint="name a longer range")
    own = asset.thresholds(blocks, asset.floor(there, recipe), recipe)
    return {CLASS_WIDE: max(float(each.max()) for each in there) * recipe.margin, **own}
