"""The detector that is judged: calibration on the training rows, T² for a network, and the product's alarm episodes.

Channels are chosen for the whole folder without labels: those whose training rows resemble the row before them (median
over the files of the autocorrelation at lag 1) wander by themselves, and say nothing about a file of 400 rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bench.skab.protocol import TRAINED, File
from cloud_trainer.calibration.limits import Healthy, causal_means, healthy, scaling, steady, t_squared
from headwater.contract.episodes import EpisodeRule, Episodes, Flags, Floats

WINDOW = 6  # rows


class Setting(NamedTuple):
    """What a search may choose: rows of the window, and the rule of the episodes."""

    window: int = WINDOW
    rule: EpisodeRule = EpisodeRule()


class Prepared(NamedTuple):
    """A file calibrated on its training rows: scaled means of all rows [n, channels], and the limits."""

    rows: Floats
    limits: Healthy


class Traced(NamedTuple):
    """Of each judged row and each setting: is it in alarm, is the promise void [rows, settings]."""

    alarm: Flags
    opened: Flags
    void: Flags


def chosen(files: Sequence[File]) -> Flags:
    """Which channels are used [channels], by the training rows of all files."""
    return steady([each.values[:TRAINED] for each in files])


@lru_cache(maxsize=4096)
def _prepared(data: bytes, channels: int, window: int) -> Prepared:
    values = np.frombuffer(data).reshape(-1, channels)
    of = scaling(values[:TRAINED])
    rows = causal_means((values - of.centre) / of.scale, window)
    return Prepared(rows, healthy(values[:TRAINED], of, window))


def prepared(values: Floats, window: int) -> Prepared:
    """Calibrate on the first rows of values [n, channels]; what was done before is remembered."""
    return _prepared(np.ascontiguousarray(values).tobytes(), values.shape[1], window)


def trace(
    values: Floats, settings: Sequence[Setting], told_after: int | None = None, labels: Flags | None = None
) -> Traced:
    """Run the rows behind the training rows through every setting side by side.

    `told_after`: an operator looks at an episode so many rows after it opened, and calls it false when none of its rows
    up to then has a label. Nothing later than a row plays a part in its verdict.
    """
    each = [prepared(values, setting.window) for setting in settings]
    whiteners = np.array([one.limits.whitener for one in each])
    states = Episodes(
        [setting.rule for setting in settings],
        np.array([one.limits.centre for one in each]),
        np.array([one.limits.limits for one in each]),
    )
    rows = np.stack([one.rows for one in each], axis=1)
    operator = _Operator(len(settings), told_after, labels)
    found: list[tuple[Flags, Flags, Flags]] = []
    for row in rows[TRAINED:]:
        operator.look(states, len(found))
        verdict = states.push(row, t_squared(whiteners, states.deviation(row)))
        operator.note(verdict.opened, verdict.is_open, len(found))
        found.append((verdict.is_open, verdict.opened, verdict.is_void))
    return Traced(*(np.array(part) for part in zip(*found, strict=True)))


class _Operator:
    """Looks at each open episode once."""

    def __init__(self, lanes: int, after: int | None, labels: Flags | None) -> None:
        self._after, self._labels = after, labels
        self._since = np.full(lanes, -1)

    def note(self, opened: Flags, is_open: Flags, row: int) -> None:
        self._since = np.where(opened, row, np.where(is_open, self._since, -1))

    def look(self, states: Episodes, row: int) -> None:
        if self._after is None:
            return
        for lane in np.flatnonzero((self._since >= 0) & (row - self._since >= self._after)):
            since = int(self._since[lane])
            if self._labels is None or not self._labels[since:row].any():
                states.acknowledge_false(int(lane))
            self._since[lane] = -1
