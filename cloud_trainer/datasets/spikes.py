"""Values that no machine reads: what gateways write where a sensor is silent, and single readings far from all others.

A threshold is the highest healthy score that was held out. One such value in it makes that score as high as any fault,
for the asset, and for the class where no other is higher. So training takes them for missing.

- A *sentinel* is a number that programs write for "no value" (-9999, 32767, 65535 and their like), far outside the
  other readings. Where the asset has fewer than `_LEAST` others they are those of its class, if these are as many. One
  that is half of the readings or more is missing as well, and an error: the edge would see hardly anything else.
- A *spike* is at most `_RUN` readings in a row that are `_FAR` times the width of the others (from the 5 % to the 95 %
  point) beyond them. Where more than `_MOST` of the readings are like that it is how the machine runs, or a sensor that
  is broken: nobody can say which, so no spike is taken out, and somebody has to look (checks.py). What leads up to the
  end of a life is none: a machine that fails reads what it never read.

The edge scores values as they come: to it a machine that sends a sentinel is a machine that reads -9999.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cloud_trainer.datasets.columns import Table
from cloud_trainer.datasets.health import Mask
from cloud_trainer.datasets.units import Told
from cloud_trainer.series import Floats, Series, TrainingSet

CHECK = "spike"
_FAR, _RUN, _MOST, _LEAST = 5.0, 3, 0.01, 100
_POOLED = 100_000  # readings of a class that are looked at together
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


class Band(NamedTuple):
    """Where the readings of a channel lie that are no sentinels: their 5 %, 50 % and 95 % points."""

    low: float
    middle: float
    high: float


class Wild(NamedTuple):
    """Which values of a channel of one asset are sentinels, and which are spikes; too many of either are `is_often`."""

    sentinel: Mask
    spike: Mask
    is_often: bool

    @property
    def missing(self) -> Mask:
        """What training takes for missing."""
        return self.sentinel if self.is_often else self.sentinel | self.spike


def band(values: Floats) -> Band | None:
    """Of the values [n] of a channel; None where too few of them are no sentinels."""
    others = values[np.isfinite(values) & ~np.isin(np.abs(values), _SENTINELS)]
    return Band(*np.quantile(others, [0.05, 0.5, 0.95]).tolist()) if len(others) >= _LEAST else None


def bands(assets: Collection[Floats]) -> list[Band | None]:
    """Of each channel over all assets of a class, values [n, channels] each; of many readings every so many."""
    if not assets:
        return []
    step = 1 + sum(map(len, assets)) // _POOLED
    pooled = np.concatenate([each[::step] for each in assets])
    return [band(column) for column in pooled.T]


def wild(values: Floats, of_class: Band | None = None, ends: Collection[int] = ()) -> Wild:
    """Of one channel of one asset, values [n] with NaN for a gap; nothing where there are too few to say.

    `of_class` is looked at where the asset alone has too few; `ends` are the rows of failures.
    """
    none = np.zeros(len(values), dtype=bool)
    within = band(values) or of_class
    if within is None:
        return Wild(none, none, is_often=False)
    low, middle, high = within
    width, is_there = high - low, np.isfinite(values)
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.where(is_there, np.maximum(values - high, low - values), 0.0)
        far = away > (_NEAR * width if width > 0 else _TIMES * max(abs(middle), 1.0))
    sentinel = np.isin(np.abs(values), _SENTINELS) & far
    is_most = 2 * int(sentinel.sum()) >= max(1, int(is_there.sum()))
    if not width > 0:
        return Wild(sentinel, none, is_most)
    spike = _short_runs((away > _FAR * width) & ~sentinel, ends)
    return Wild(sentinel, spike, is_most or int(spike.sum()) > max(_MOST * int(is_there.sum()), 1))


def _short_runs(marked: Mask, ends: Collection[int]) -> Mask:
    """Of what is marked the runs of at most `_RUN` that lead up to none of the `ends`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]])))
    found = np.zeros(len(marked), dtype=bool)
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        found[start:end] = end - start <= _RUN and not any(start <= last < end for last in ends)
    return found


def without(
    series: Series,
    channels: tuple[str, ...],
    accept: Collection[str],
    of_class: Sequence[Band | None] = (),
    ends: Collection[int] = (),
) -> tuple[Series, dict[str, int]]:
    """An asset's readings without its wild values, and how many that were by channel; accepted channels keep theirs.

    `of_class` by channel, and `ends`, as `wild` has them.
    """
    counts, values = {}, series.values
    known = of_class or [None] * len(channels)
    for number, channel in enumerate(channels):
        if f"{CHECK}:{channel}" in accept:
            continue
        missing = wild(series.values[:, number], known[number], ends).missing
        if missing.any():
            values = values.copy() if values is series.values else values
            values[missing, number] = np.nan
            counts[channel] = int(missing.sum())
    return (series if values is series.values else replace(series, values=values)), counts


def tamed(learn: TrainingSet, accept: Collection[str]) -> tuple[TrainingSet, dict[str, int]]:
    """A training set without its wild values, and how many that were by channel."""
    series, total = {}, dict[str, int]()
    of_class = bands([one.values for one in learn.series.values()])
    for key, one in learn.series.items():
        series[key], counts = without(one, learn.channels, accept, of_class)
        for channel, count in counts.items():
            total[channel] = total.get(channel, 0) + count
    return (replace(learn, series=series), total) if total else (learn, total)


def spikes(
    tables: Mapping[str, Table],
    channels: tuple[str, ...],
    labels: Mapping[str, Mask],
    accept: Collection[str],
    ends: Mapping[str, Collection[int]] | None = None,
) -> Iterator[Told]:
    """Level, check, channel, and words, of each finding; abnormal readings may be as far off as they are.

    `ends`: by asset the rows of failures.
    """
    of_class = bands([one.values[~labels[key]] if key in labels else one.values for key, one in tables.items()])
    for number, channel in enumerate(channels):
        told: list[str] = []
        is_error = False
        for key, one in tables.items():
            healthy = ~labels[key] if key in labels else np.ones(len(one.t), dtype=bool)
            failures = np.flatnonzero(np.isin(np.flatnonzero(healthy), list((ends or {}).get(key, ()))))
            found = wild(one.values[healthy, number], of_class[number], failures.tolist())
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
