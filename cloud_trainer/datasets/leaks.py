"""Channels that tell what a model is to find, or only when: it would be good on paper and blind in the plant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from cloud_trainer.datasets.columns import Table
from cloud_trainer.datasets.health import Mask
from cloud_trainer.datasets.units import Told
from cloud_trainer.series import Floats

_LEAST = 100  # readings of an asset before its order says anything
_STRICT = 0.9  # share of the steps of a clock that are not zero
_STEPS = 3  # of a counter, at least
_STRAIGHT = 0.9999  # correlation with the row number
_SAME = 0.99  # correlation with a label
_LABELS = frozenset(
    ("anomaly", "anomaly_label", "changepoint", "failure", "is_anomaly", "label", "labels", "rul", "ttf")
)


def leaks(tables: Mapping[str, Table], channels: tuple[str, ...], labels: Mapping[str, Mask]) -> Iterator[Told]:
    """Level, check, channel, and words, of each finding."""
    for number, channel in enumerate(channels):
        if channel.lower() in _LABELS:
            yield "error", "label", channel, "it is called as a label is"
        elif (share := _like_label(tables, number, labels)) >= _SAME:
            yield "error", "label", channel, f"it tells the label: correlation {share:.3f}"
        else:
            yield from _clock(tables, number, channel)


def _clock(tables: Mapping[str, Table], number: int, channel: str) -> Iterator[Told]:
    """It is a clock where it is one for most of the assets with enough readings."""
    long = {key: values for key, one in tables.items() if len(values := _finite(one.values[:, number])) >= _LEAST}
    clocks = [key for key, values in long.items() if _is_clock(values)]
    counters = [key for key, values in long.items() if _is_counter(values)]
    if clocks and 2 * len(clocks) >= len(long):
        words = f"it tells the row number at {len(clocks)} of {len(long)} assets, such as {clocks[0]}"
        yield "error", "clock", channel, words
    elif counters and 2 * len(counters) >= len(long):
        words = f"it only ever goes one way at {len(counters)} of {len(long)} assets, such as {counters[0]}"
        yield "warning", "clock", channel, words


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _is_clock(values: Floats) -> bool:
    steps = np.diff(values)
    moving = float((steps != 0).mean())
    if moving >= _STRICT and ((steps >= 0).all() or (steps <= 0).all()):
        return True
    return moving > 0 and abs(_correlation(values, np.arange(len(values), dtype=np.float64))) >= _STRAIGHT


def _is_counter(values: Floats) -> bool:
    steps = np.diff(values)
    return bool((steps != 0).sum() >= _STEPS and ((steps >= 0).all() or (steps <= 0).all()))


def _like_label(tables: Mapping[str, Table], number: int, labels: Mapping[str, Mask]) -> float:
    """Correlation with the label, either way, over all assets whose label is not always the same."""
    parts = [
        (one.values[:, number], labels[key])
        for key, one in tables.items()
        if key in labels and 0 < int(labels[key].sum()) < len(labels[key])
    ]
    if not parts:
        return 0.0
    values = np.concatenate([each for each, _ in parts])
    label = np.concatenate([each for _, each in parts]).astype(np.float64)
    there = np.isfinite(values)
    return abs(_correlation(values[there], label[there]))


def _correlation(one: Floats, other: Floats) -> float:
    """Pearson's; 0 where one of the two stands still."""
    if len(one) < 2:
        return 0.0
    a, b = one - one.mean(), other - other.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 0 and np.isfinite(size) else 0.0
