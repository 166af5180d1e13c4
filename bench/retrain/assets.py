"""Assets to train on: simulated pumps, or the recordings of a folder, replayed by as many sites as are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloud_trainer.running.runner import Runner
from cloud_trainer.series import Series, TrainingSet
from headwater.app.plant.publisher import Row
from headwater.app.plant.pump import CHANNELS
from headwater.app.plant.simulator import ASSET_CLASS, Plant
from headwater.contract.canonical import digest
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Dataset
from headwater.transport.recordings import Recording, recordings

START_MS = 1_767_225_600_000
_GAIN, _SHIFT = 0.05, 1.0  # what two sensors of one make differ by: a share, and standard deviations of the channel


@dataclass(frozen=True)
class Simulated:
    """Makes the readings of one site's pump; in workers, since a million take longer to make than to fit."""

    rows: int

    def __call__(self, site: str) -> Series:
        """The first readings of a healthy pump of its own."""
        plant = Plant(1, [site], 1, START_MS)
        drawn = plant.readings(site, plant.assets[0][1])
        rows = [next(drawn) for _ in range(self.rows)]
        values = np.array([[values[channel] for channel in CHANNELS] for _, values in rows])
        return Series(np.array([t for t, _ in rows], dtype=np.int64), values, np.zeros(self.rows, dtype=np.int64))


def thousand(sites: int, rows: int, data: Path | None, runner: Runner) -> TrainingSet:
    """One asset at each site, each like no other."""
    names = [f"site-{number:04d}" for number in range(sites)]
    if data is None:
        series = {f"{name}/pump-1": one for name, one in zip(names, runner.map(Simulated(rows), names), strict=True)}
        return _set(CHANNELS, series)
    found = [one for one in recordings(data) if len(one.rows) >= rows]
    if not found:
        raise BadInput(f"no recording below {data} has {rows:,} rows", hint="name fewer with --rows")
    channels = found[0].channels
    found = [one for one in found if one.channels == channels]
    taken = [_first(one, rows) for one in found]
    rng = np.random.default_rng(1)
    series = {}
    for number, name in enumerate(names):
        one = taken[number % len(taken)]
        gain = 1 + _GAIN * rng.standard_normal(len(channels))
        shift = _SHIFT * rng.standard_normal(len(channels)) * np.nanstd(one.values, axis=0)
        series[f"{name}/{found[number % len(found)].asset}"] = Series(one.t, one.values * gain + shift, one.stretch)
    return _set(channels, series)


def _first(recording: Recording, rows: int) -> Series:
    some = recording.rows[:rows]
    values = [[row.values[c] for c in recording.channels] for row in some]
    t = np.array([row.t for row in some], dtype=np.int64)
    return Series(t, np.array(values, dtype=np.float64), np.zeros(len(some), dtype=np.int64))


def _set(channels: tuple[str, ...], series: dict[str, Series]) -> TrainingSet:
    order = tuple(sorted(channels))
    columns = [channels.index(channel) for channel in order]
    ordered = {key: Series(one.t, one.values[:, columns], one.stretch) for key, one in series.items()}
    source = Dataset({}, digest(sorted(ordered)), sum(map(len, ordered.values())))
    return TrainingSet(ASSET_CLASS, order, ordered, source)


def some_of(learn: TrainingSet, count: int) -> TrainingSet:
    """The first assets alone, for the network of the class."""
    return TrainingSet(learn.asset_class, learn.channels, dict(list(learn.series.items())[:count]), learn.source)


def one_asset(data: Path | None) -> Iterator[Row]:
    """Readings of the asset that is trained on its own: the longest recording, or a simulated pump without an end."""
    if data is None:
        plant = Plant(1, ["lyon"], 1, START_MS)
        return iter(plant.readings("lyon", plant.assets[0][1]))
    longest = max(recordings(data), key=lambda one: len(one.rows))
    return iter([(row.t, row.values) for row in longest.rows])
