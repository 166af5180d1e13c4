"""What shows that a number means something: trivial detectors, and what must unmask a clock.

- Always: every judged row is in alarm. Clock: judged rows 170 to 569, whatever they say (chosen on the public files).
- T²: fitted on the training rows, its largest healthy value as the threshold; no episodes, no baseline that follows.
- Shuffled: the judged rows in another order: what is left of the score is what needs no order.
- Shifted: healthy training rows are played again before the judged ones: a detector that knows the row number by heart
  loses what it had (the clock falls), one that looks at the machine keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.skab.detector import Setting, prepared, trace
from bench.skab.protocol import TRAINED, Counts, File, Nab, count, nab, pooled
from cloud_trainer.calibration.limits import t_squared
from headwater.contract.episodes import EpisodeRule, Flags, Floats

CLOCK = (170, 570)
REPLAYED = 200  # rows
CHANGES = Setting(
    15, EpisodeRule(margin=1.5, onset=2, follow=0.005, level=1e-6, share=0.0, recovery=1_000, longest=5, settle=40)
)
_STATIC_WINDOW = 5

Detector = Callable[[Floats], Flags]  # values [n, channels] to alarms of the rows behind the training rows


def ours(setting: Setting) -> Detector:
    """The product's detector under a setting."""
    return lambda values: np.asarray(trace(values, [setting]).alarm[:, 0])


def always(values: Floats) -> Flags:
    """Every row."""
    return np.ones(len(values) - TRAINED, dtype=np.bool_)


def clock(values: Floats) -> Flags:
    """The rows in which faults are usually played."""
    row = np.arange(len(values) - TRAINED)
    return np.asarray((row >= CLOCK[0]) & (row < CLOCK[1]))


def static(values: Floats) -> Flags:
    """T² over its largest healthy value."""
    rows, limits = prepared(values, _STATIC_WINDOW)
    return np.asarray(t_squared(limits.whitener, (rows[TRAINED:] - limits.centre) / limits.limits) > 1)


def judged(files: Sequence[File], channels: Flags, detector: Detector) -> Counts:
    """A detector on the recordings as they are."""
    return pooled(count(detector(each.values[:, channels]), each.judged) for each in files)


def shuffled(files: Sequence[File], channels: Flags, detector: Detector, seed: int) -> Counts:
    """On judged rows in another order, each with its own label."""
    dice = np.random.default_rng(seed)
    found = []
    for each in files:
        order = dice.permutation(len(each.t) - TRAINED)
        values = each.values[:, channels]
        found.append(count(detector(np.vstack([values[:TRAINED], values[TRAINED:][order]])), each.judged[order]))
    return pooled(found)


def shifted(files: Sequence[File], channels: Flags, detector: Detector) -> Counts:
    """With the last healthy rows played again before the judged ones, which alone are counted."""
    found = []
    for each in files:
        values = each.values[:, channels]
        longer = np.vstack([values[:TRAINED], values[TRAINED - REPLAYED : TRAINED], values[TRAINED:]])
        found.append(count(detector(longer)[REPLAYED:], each.judged))
    return pooled(found)


def changepoints(files: Sequence[File], channels: Flags) -> Nab:
    """The same episodes with little patience: whatever state lasts for five rows is the new one, and was a change."""
    return nab(
        (each.t[TRAINED:], each.changes[TRAINED:], trace(each.values[:, channels], [CHANGES]).opened[:, 0])
        for each in files
    )


def metronome(files: Sequence[File], false: int) -> Nab:
    """A blind pulse, at the pace whose false changepoints are nearest to `false`."""

    def every(rows: int) -> Nab:
        return nab(
            (each.t[TRAINED:], each.changes[TRAINED:], np.arange(len(each.t) - TRAINED) % rows == rows - 1)
            for each in files
        )

    return min((every(rows) for rows in range(20, 1_000, 5)), key=lambda found: abs(found.false - false))
