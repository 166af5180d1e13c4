"""What a model says of each reading, so that models with other windows can be held against each other.

A reading has the verdict of the last window that ends at or before it, for as long as the next one is not overdue: a
reading behind a gap has none until a window is full again. So two models are compared on the same readings, whatever
their windows and steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Floats, Ints, Series, cut, vectors
from headwater.contract.alarm import AlarmState, step
from headwater.contract.errors import BadInput
from headwater.contract.following import EpisodeSpec, Following
from headwater.contract.manifest import Manifest
from headwater.transport import tflite

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Verdicts:
    """Of one asset by reading: score over threshold (NaN: no verdict), whether in alarm, where an episode opens."""

    level: Floats
    alarm: Mask
    opens: Mask
    scores: Floats  # of each window
    last_row: Ints  # of each window
    watched_ms: int = 60_000  # so much of the time between two readings counts as under watch
    cold: int = 0  # windows at the begin that are not judged

    @property
    def known(self) -> Mask:
        """Readings with a verdict."""
        return np.isfinite(self.level)


class Moment(NamedTuple):
    """What a model says of one window: score, the same over what it is held against, and the episode."""

    score: float
    level: float
    is_open: bool
    opens: bool


class Judge:
    """One model, ready to give verdicts; BadInput where it lacks a channel that the readings do not have."""

    def __init__(self, manifest: Manifest, data: bytes) -> None:
        self.manifest = manifest
        self._model = tflite.Model(data)
        spec = manifest.features
        self._cutting = Recipe(window=spec.window, step=spec.step, max_gap_s=spec.max_gap_s, hold=spec.hold)

    def of(self, key: str, series: Series, given: tuple[str, ...], before: Series | None = None) -> Verdicts:
        """Verdicts on the readings of `site/asset`, whose columns `given` names.

        The model runs through the readings `before` these, so that a model that follows its machines stands where it
        would stand at the edge. One that begins outside its limits is not judged by its first windows (`_cold`).
        """
        if before is not None and len(before):
            return _behind(self.of(key, _joined(before, series), given), len(before))
        spec = self.manifest.features
        missing = sorted(set(spec.channels) - set(given))
        if missing:
            name = f"{self.manifest.asset_class} version {self.manifest.version}"
            raise BadInput(f"{name} needs {', '.join(missing)}, which is not in these readings")
        windows = cut(series, given, spec.channels, self._cutting)
        if self.manifest.episodes is not msgspec.UNSET:
            following = Following(spec, self.manifest.episodes, key)
            cold = _cold(following, self.manifest.episodes, key, windows.values)
            moments = self._followed(following, key, windows.values)
            moments[:cold] = [each._replace(level=np.nan) for each in moments[:cold]]
            return replace(spread(self.manifest, moments, windows.last_row, series), cold=cold)
        scores = self._model.score(vectors(spec, key, windows))[0].astype(np.float64)
        return spread(self.manifest, _stepped(self.manifest, key, scores), windows.last_row, series)

    def _followed(self, following: Following, key: str, windows: Floats) -> list[Moment]:
        """As the edge does it: what a window is held against depends on those before it."""
        found: list[Moment] = []
        for values in windows:
            score = float(self._model.score(np.array([following.input(values)]))[0][0])
            verdict = following.push(values, score, self.manifest.threshold_of(key))
            told, margin = float(verdict.score[0]), float(verdict.margin[0])
            found.append(Moment(told, told / margin, bool(verdict.is_open[0]), bool(verdict.opened[0])))
        return found


def _cold(following: Following, spec: EpisodeSpec, key: str, windows: Floats) -> int:
    """How many windows at the begin are not judged: none where the machine begins within the limits.

    At the edge such a machine was followed there for weeks. A model that starts at its calibration is in an alarm that
    the edge would not have, for at most as long as its rule lets one be open.
    """
    rule, healthy = spec.rule, spec.of(key)
    first = [following.row(values) for values in windows[: rule.void_rows]]
    rows = [row for row in first if np.isfinite(row).all()]
    if not rows:
        return 0
    moved = np.abs(np.concatenate(rows).mean(axis=0) - np.array(healthy.centre)) / np.array(healthy.limits)
    return min(len(windows), rule.longest + rule.onset) if moved.max() >= rule.void_share else 0


def _joined(before: Series, series: Series) -> Series:
    return Series(
        np.concatenate([before.t, series.t]),
        np.concatenate([before.values, series.values]),
        np.concatenate([before.stretch, series.stretch]),
    )


def _behind(whole: Verdicts, rows: int) -> Verdicts:
    """Those on readings from `rows` on; an alarm that is open there counts as opened there."""
    inside = whole.last_row >= rows
    opens = whole.opens[rows:].copy()
    opens[:1] |= whole.alarm[rows : rows + 1]
    return replace(
        whole,
        level=whole.level[rows:],
        alarm=whole.alarm[rows:],
        opens=opens,
        scores=whole.scores[inside],
        last_row=whole.last_row[inside] - rows,
        cold=whole.cold if bool((~inside).sum() < whole.cold) else 0,
    )


def _stepped(manifest: Manifest, key: str, scores: Floats) -> list[Moment]:
    threshold, state = manifest.threshold_of(key), AlarmState()
    found = []
    for number, score in enumerate(scores.tolist()):
        state, transition = step(manifest.alarm, state, score, threshold, f"{number}")
        opens = transition is not None and transition.kind == "opened"
        found.append(Moment(score, score / threshold, bool(state.episode), opens))
    return found


def spread(manifest: Manifest, moments: list[Moment], last_row: Ints, series: Series) -> Verdicts:
    """Carry the verdict on each window on to the readings until the next one."""
    count, every = len(series), manifest.features.step
    level = np.full(count, np.nan)
    alarm, opens = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    rows = last_row.tolist()
    for number, (row, moment) in enumerate(zip(rows, moments, strict=True)):
        until = min(row + every, rows[number + 1] if number + 1 < len(rows) else count, count)
        same = series.stretch[row:until] == series.stretch[row]
        until = row + int(same.argmin()) if not same.all() else until
        level[row:until] = moment.level
        alarm[row:until] = moment.is_open
        opens[row] = moment.opens
    scores = np.array([moment.score for moment in moments])
    return Verdicts(level, alarm, opens, scores, last_row, int(manifest.features.max_gap_s * 1000))
