"""The gate before publishing: the runtime of the edge computes what training computed, and alarms alike.

Checked on every window of the training set and on the golden vectors, in the runtime installed here. What a golden
vector must prove at the edge is small (a wrong kernel, changed weights, NaN), so a few dozen are enough: they stand for
the whole range of healthy scores, and for values far outside of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from cloud_trainer.pool.detector import Detector
from cloud_trainer.series import Floats, Vectors
from cloud_trainer.train import Trained
from headwater.contract.alarm import AlarmRule, AlarmState, step
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import Golden
from headwater.transport import tflite

TOLERANCE = 1e-5  # of scores, relative
_TOLERANCE_OF_PARTS = 1e-3  # of contributions, which are for people: relative to the largest of their window
_HEALTHY_GOLDEN = 24
_FAR = 1000.0  # in units of a channel's scale


class Parity(NamedTuple):
    """What was compared: runtime, windows, the largest relative difference of a score, and alarms that opened."""

    runtime: str
    windows: int
    worst: float
    alarms: int


def check(trained: Trained, model: bytes, rule: AlarmRule) -> Parity:
    """Compare the exported model with the trained one; GateFailed says by how much they differ."""
    edge = tflite.Model(model)
    worst, alarms, windows = 0.0, 0, 0
    golden = golden_vectors(trained)
    for key, rows in [*trained.vectors.items(), ("golden", np.array(golden.inputs, np.float32))]:
        wanted, parts = trained.detector.score(rows)
        scores, contributions = edge.score(rows)
        difference, of_parts = _difference(scores, wanted), _difference_of_parts(contributions, parts)
        if not (difference <= TOLERANCE and of_parts <= _TOLERANCE_OF_PARTS):
            raise GateFailed(
                f"{tflite.runtime_class()} is {difference:.1e} away from training in the scores of {key} and "
                f"{of_parts:.1e} in the contributions; {TOLERANCE:.0e} and {_TOLERANCE_OF_PARTS:.0e} are allowed"
            )
        worst = max(worst, difference)
        threshold = trained.thresholds.get(key) or trained.thresholds[""]
        theirs, ours = opened(rule, scores.tolist(), threshold), opened(rule, wanted.tolist(), threshold)
        if theirs != ours:
            raise GateFailed(f"{tflite.runtime_class()} opens other alarms than training for {key}")
        alarms += len(ours) if key in trained.vectors else 0
        windows += len(rows)
    return Parity(tflite.runtime_class(), windows, worst, alarms)


def opened(rule: AlarmRule, scores: Sequence[float], threshold: float) -> list[int]:
    """Numbers of the windows at which an alarm opens."""
    state, found = AlarmState(), []
    for number, score in enumerate(scores):
        state, transition = step(rule, state, score, threshold, f"{number}")
        if transition is not None and transition.kind == "opened":
            found.append(number)
    return found


def golden_vectors(trained: Trained) -> Golden:
    """Healthy vectors over the range of scores; far out each feature, or channel of windows, and all; and zeros."""
    rows = np.concatenate(list(trained.vectors.values()))
    scores = trained.detector.score(rows)[0]
    order = np.argsort(scores, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(rows) - 1, _HEALTHY_GOLDEN).astype(int))]
    width, channels = rows.shape[1], len(trained.spec.channels)
    apart = width if trained.spec.layout is msgspec.UNSET else channels
    alone = np.arange(width) % apart == np.arange(apart)[:, None]  # a whole window of one channel, or one feature
    extreme = np.concatenate([alone * _FAR, np.full((1, width), -_FAR), np.zeros((1, width))])
    inputs: Vectors = np.concatenate([rows[chosen], extreme.astype(np.float32)])
    return _golden(trained.detector, inputs)


def _golden(detector: Detector, inputs: Vectors) -> Golden:
    scores = detector.levels(inputs)
    return Golden(inputs.astype(np.float64).tolist(), scores.tolist(), TOLERANCE)


def _difference(scores: Vectors, wanted: Floats) -> float:
    """Largest relative difference; NaN, which is never within a tolerance, where one of them is not a number."""
    if not len(wanted):
        return 0.0
    return float(np.max(np.abs(scores - wanted) / np.maximum(np.abs(wanted), np.finfo(np.float32).tiny)))


def _difference_of_parts(contributions: Vectors, parts: Floats) -> float:
    """The same for contributions, relative to the largest of their window."""
    if not len(parts):
        return 0.0
    most = np.maximum(parts.max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return float(np.max(np.abs(contributions - parts) / most))
