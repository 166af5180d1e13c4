"""Readings by asset as columns, and the windows that the edge would cut from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_trainer.recipe import Recipe
from headwater.contract.errors import GateFailed
from headwater.contract.features import FeatureSpec, Windower, vector
from headwater.contract.manifest import Dataset
from headwater.contract.reading import Reading

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
    """The windows of one asset, by the edge's own code; `given` names the columns of `series`."""
    columns = [list(given).index(channel) for channel in channels]
    spec = FeatureSpec(channels, recipe.window, recipe.step, {}, recipe.max_gap_s, recipe.hold)
    values = series.values[:, columns]
    rows = values.astype(object)
    rows[~np.isfinite(values)] = None  # as a payload says that there is no value
    found = []
    windower, stretch = Windower(spec), None
    of_time = zip(series.t.tolist(), series.stretch.tolist(), rows.tolist(), strict=True)
    for number, (t, of_stretch, row) in enumerate(of_time):
        if of_stretch != stretch:
            windower, stretch = Windower(spec), of_stretch
        window = windower.push(number, Reading(t, dict(zip(channels, row, strict=True))))
        if window is not None:
            found.append(window)
    shape = (len(found), recipe.window, len(channels))
    return Windows(
        np.array([window.values for window in found], dtype=np.float64).reshape(shape),
        np.array([window.first_offset for window in found], dtype=np.int64),
        np.array([window.last_offset for window in found], dtype=np.int64),
        np.array([window.t_last for window in found], dtype=np.int64),
    )


def vectors(spec: FeatureSpec, asset_key: str, windows: Windows) -> Vectors:
    """Feature vectors float32 [n, 2 * channels] of an asset's windows, by the edge's own code."""
    scaling = spec.scaling_of(asset_key)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks for what is not finite
        rows = [vector(scaling, values) for values in windows.values]
    return np.array(rows, dtype=np.float32).reshape(len(rows), 2 * len(spec.channels))
