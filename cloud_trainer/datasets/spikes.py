"""Values that no machine reads: what gateways write where a sensor is silent, and single readings far from all others.

A threshold is the highest healthy score that was held out. One such value in it makes that score as high as any fault,
for the asset, and for the class where no other is higher. So training takes them for missing.

- A *sentinel* is a number that programs write for "no value" (-9999, 32767, 65535 and their like), far outside the
  asset's other readings, which must be most of them.
- A *spike* is at most `_RUN` readings in a row that are `_FAR` times the width of the others (from the 5 % to the 95 %
  point) beyond them. Where more than `_MOST` of the readings are like that it is how the machine runs, or a sensor that
  is broken: nobody can say which, so nothing is taken out, and somebody has to look (checks.py).

The edge scores values as they come: to it a machine that sends a sentinel is a machine that reads -9999.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cloud_trainer.datasets.columns import Table
from cloud_trainer.datasets.health import Mask
from cloud_trainer.datasets.units import Told
from cloud_trainer.series import Floats, Series, TrainingSet

CHECK = "spike"
_FAR, _RUN, _MOST, _LEAST = 5.0, 3, 0.01, 100
_NEAR, _TIMES = 3.0, 10.0  # widths, or times the middle where the others stand still, that a sentinel is away
_NAMED = 3
_LEFT_OUT = "training takes them for missing, the edge scores them as they come: stop them where they arise"
_OFTEN = "too often for an accident: mend the sensor, or accept it if the machine runs so"
_ACCEPTED = "accepted: they are learned from as they are"
_NINES = [10.0**k - 1 for k in range(3, 13)]
_DECIMALS = [999.9, 9999.9, 99999.9, 999.99, 9999.99, 99999.99, 999.999]
_BITS = [2.0**15 - 1, 2.0**15, 2.0**16 - 1, 2.0**31 - 1, 2.0**31, 2.0**32 - 1, 2.0**63]
_FLOATS = [1e20, 1e30, 1e37, float(np.finfo(np.float32).max), float(np.finfo(np.float64).max)]
_SENTINELS = np.array(_NINES + _DECIMALS + _BITS + _FLOATS)


class Wild(NamedTuple):
    """Which values of a channel of one asset are sentinels, and which are spikes; too many of these are `is_often`."""

    sentinel: Mask
    spike: Mask
    is_often: bool

    @property
    def missing(self) -> Mask:
        """What training takes for missing."""
        return self.sentinel if self.is_often else self.sentinel | self.spike


def wild(values: Floats) -> Wild:
    """Of one channel of one asset, values [n] with NaN for a gap; nothing where there are too few to say."""
    none = np.zeros(len(values), dtype=bool)
    is_named = np.isin(np.abs(values), _SENTINELS)
    there, others = values[np.isfinite(values)], values[np.isfinite(values) & ~is_named]
    if len(others) < _LEAST or 2 * len(others) < len(there):
        return Wild(none, none, is_often=False)
    low, middle, high = np.quantile(others, [0.05, 0.5, 0.95])
    width = high - low
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.where(np.isfinite(values), np.maximum(values - high, low - values), 0.0)
        far = away > (_NEAR * width if width > 0 else _TIMES * max(abs(middle), 1.0))
    sentinel = is_named & far
    if not width > 0:
        return Wild(sentinel, none, is_often=False)
    spike = _short_runs((away > _FAR * width) & ~sentinel)
    return Wild(sentinel, spike, is_often=int(spike.sum()) > max(_MOST * len(there), 1))


def _short_runs(marked: Mask) -> Mask:
    """Of what is marked the runs of at most `_RUN`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]])))
    found = np.zeros(len(marked), dtype=bool)
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        found[start:end] = end - start <= _RUN
    return found


def without(series: Series, channels: tuple[str, ...], accept: Collection[str]) -> tuple[Series, dict[str, int]]:
    """An asset's readings without its wild values, and how many that were by channel; accepted channels keep theirs."""
    counts, values = {}, series.values
    for number, channel in enumerate(channels):
        if f"{CHECK}:{channel}" in accept:
            continue
        missing = wild(series.values[:, number]).missing
        if missing.any():
            values = values.copy() if values is series.values else values
            values[missing, number] = np.nan
            counts[channel] = int(missing.sum())
    return (series if values is series.values else replace(series, values=values)), counts


def tamed(learn: TrainingSet, accept: Collection[str]) -> tuple[TrainingSet, dict[str, int]]:
    """A training set without its wild values, and how many that were by channel."""
    series, total = {}, dict[str, int]()
    for key, one in learn.series.items():
        series[key], counts = without(one, learn.channels, accept)
        for channel, count in counts.items():
            total[channel] = total.get(channel, 0) + count
    return (replace(learn, series=series), total) if total else (learn, total)


def spikes(
    tables: Mapping[str, Table], channels: tuple[str, ...], labels: Mapping[str, Mask], accept: Collection[str]
) -> Iterator[Told]:
    """Level, check, channel, and words, of each finding; abnormal readings may be as far off as they are."""
    for number, channel in enumerate(channels):
        told: list[str] = []
        is_error = False
        for key, one in tables.items():
            healthy = ~labels[key] if key in labels else np.ones(len(one.t), dtype=bool)
            found = wild(one.values[healthy, number])
            if (found.sentinel | found.spike).any():
                is_error |= found.is_often
                told += _words(key, one.offsets[healthy], one.values[healthy, number], found)
        if told:
            more = f"; and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
            so = _OFTEN if is_error else _ACCEPTED if f"{CHECK}:{channel}" in accept else _LEFT_OUT
            yield "error" if is_error else "warning", CHECK, channel, f"{'; '.join(told[:_NAMED])}{more}: {so}"


def _words(key: str, offsets: np.ndarray[tuple[int], np.dtype[np.int64]], values: Floats, found: Wild) -> Iterator[str]:
    for mask, what in ((found.sentinel, "as for no value"), (found.spike, "far from all others")):
        rows = np.flatnonzero(mask)
        if len(rows):
            times = "once" if len(rows) == 1 else f"{len(rows):,} times"
            yield f"{values[rows[0]]:g} ({what}) {times} at {key}, such as offset {offsets[rows[0]]}"
