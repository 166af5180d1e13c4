"""Readings by asset as columns, and the windows that the edge would cut from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_trainer.recipe import Recipe
from headwater.contract.errors import GateFailed
from headwater.contract.features import FeatureSpec
from headwater.contract.manifest import Dataset

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """Readings of one asset in log order: sensor times in ms, values [n, channels] with NaN for a gap.

    `stretch` changes wherever readings between two rows were left out: no window may reach across.
    """

    t: Ints
    values: Floats
    stretch: Ints

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True)
class TrainingSet:
    """What a model may learn from: healthy readings by `site/asset`, and the range of the log that they came from."""

    asset_class: str
    channels: tuple[str, ...]
    series: Mapping[str, Series]
    source: Dataset


@dataclass(frozen=True)
class Windows:
    """Windows of one asset: values [n, window, channels], first and last row, sensor time of the last reading."""

    values: Floats
    first_row: Ints
    last_row: Ints
    t_last: Ints

    def __len__(self) -> int:
        return len(self.values)

    def between(self, start: int, end: int) -> Windows:
        """Those that lie wholly in the rows [start, end)."""
        inside = (self.first_row >= start) & (self.last_row < end)
        return Windows(self.values[inside], self.first_row[inside], self.last_row[inside], self.t_last[inside])


def usable_channels(learn: TrainingSet, recipe: Recipe) -> tuple[str, ...]:
    """Channels that enough readings carry, by name; GateFailed when there is none."""
    total = sum(len(series) for series in learn.series.values())
    if not total:
        raise GateFailed(
            f"no healthy reading of the class {learn.asset_class} is in that range",
            hint="check the class, and what was excluded; or name a longer range",
        )
    carried = sum(np.isfinite(series.values).sum(axis=0) for series in learn.series.values())
    shares = np.asarray(carried) / total
    found = tuple(sorted(c for c, share in zip(learn.channels, shares, strict=True) if share >= recipe.present))
    if not found:
        raise GateFailed(f"no channel is in {recipe.present:.0%} of the readings of {learn.asset_class}")
    return found


def cut(series: Series, given: Sequence[str], channels: tuple[str, ...], recipe: Recipe) -> Windows:
    """The windows of one asset that the edge would cut (`Windower`), all at once; `given` names the columns.

    A run of readings begins with a complete one, holds what is missing, and ends before a jump of time, a place where
    readings were left out, or a channel that is missing for longer than it is held.
    """
    columns = [list(given).index(channel) for channel in channels]
    values = np.ascontiguousarray(series.values[:, columns])
    there = np.isfinite(values)
    rows = np.arange(len(series))
    newest = np.maximum.accumulate(np.where(there, rows[:, None], -1), axis=0)  # row of the value that is held
    gone = np.asarray((rows[:, None] - newest > recipe.hold).any(axis=1))
    jumps = np.abs(np.diff(series.t)) > recipe.max_gap_s * 1000
    breaks = np.flatnonzero(gone[1:] | jumps | (np.diff(series.stretch) != 0)) + 1
    last = _last_rows(np.flatnonzero(there.all(axis=1)), np.append(breaks, len(series)), recipe)
    first = last - recipe.window + 1
    held = np.take_along_axis(values, np.maximum(newest, 0), axis=0) if len(values) else values
    found = held[first[:, None] + np.arange(recipe.window)]
    return Windows(found, first, last, series.t[last])


def _last_rows(complete: Ints, breaks: Ints, recipe: Recipe) -> Ints:
    """Last row of each window: runs begin at a complete row, end before the next break."""
    found = [np.zeros(0, np.int64)]
    at = 0
    while at < len(complete):
        start = int(complete[at])
        end = int(breaks[np.searchsorted(breaks, start, side="right")])
        found.append(np.arange(start + recipe.window - 1, end, recipe.step, dtype=np.int64))
        at = int(np.searchsorted(complete, end))
    return np.concatenate(found)


def vectors(spec: FeatureSpec, asset_key: str, windows: Windows) -> Vectors:
    """Feature vectors float32 [n, features] of an asset's windows, by the edge's own code."""
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for what is not finite
        rows = [spec.vector(asset_key, values) for values in windows.values]
    return np.array(rows, dtype=np.float32).reshape(len(rows), spec.width)
