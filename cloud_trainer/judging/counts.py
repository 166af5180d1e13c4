"""Counts of one model by block of readings, and the figures that are ratios of their sums.

A block is a stretch of consecutive readings of one asset. Readings next to each other are alike, so that blocks and
not readings are what an interval may be drawn from (Künsch, The Jackknife and the Bootstrap for General Stationary
Observations, Annals of Statistics 17, 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from cloud_trainer.judging.material import FAULT, NORMAL, Truth
from cloud_trainer.judging.verdicts import Mask, Verdicts
from cloud_trainer.series import Floats, Ints

TP, FP, FN, TN, OPENED, RIGHT, FAULTS, FOUND, ROWS, MS = range(10)
COUNTED = 10
BINS = 128  # of levels, for the precision-recall curve
COLUMNS = COUNTED + 2 * BINS  # then the levels of faults by bin, then those of normal readings
LEAST_ASSETS = 5  # fewer say nothing of others
WEEK_MS = 7 * 86_400_000


def contributions(truth: Truth, t: Ints, verdicts: Verdicts, use: Mask) -> Floats:
    """What each reading adds to the counts [n, COUNTED]; those that `use` leaves out add nothing.

    An episode is right when the fault reaches into it, and belongs to the reading that opens it; a fault is found when
    there is an alarm in it, and belongs to its first reading.
    """
    found = np.zeros((len(t), COUNTED))
    alarm, bad, good = verdicts.alarm, truth == FAULT, truth == NORMAL
    for column, mask in ((TP, alarm & bad), (FP, alarm & good), (FN, ~alarm & bad), (TN, ~alarm & good)):
        found[:, column] = mask
    found[:, OPENED] = verdicts.opens
    for start, end in episodes(verdicts):
        found[start, RIGHT] = bool(bad[start:end].any())
    for start, end in stretches(bad & use):
        found[start, FAULTS] = 1
        found[start, FOUND] = bool(alarm[start:end].any())
    found[:, ROWS] = 1
    found[:, MS] = np.diff(t, prepend=t[:1]).clip(0, verdicts.watched_ms)  # a pause is no time under watch
    return np.asarray(found * use[:, None])


def stretches(mask: Mask) -> list[tuple[int, int]]:
    """Runs of what is true, as [start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in pairwise(edges.tolist())][::2]


def episodes(verdicts: Verdicts) -> list[tuple[int, int]]:
    """Readings in alarm of each episode, as [start, end); two that follow each other at once are two."""
    cuts = sorted({*np.flatnonzero(verdicts.opens).tolist()})
    found = []
    for start, end in stretches(verdicts.alarm):
        inside = [start, *(c for c in cuts if start < c < end), end]
        found += list(pairwise(inside))
    return found


def levels_by_block(truth: Truth, level: Floats, edges: Floats, block: Ints, blocks: int) -> Floats:
    """How many faults, then how many normal readings of each block [blocks, 2 * BINS] have a level in each bin."""
    number = np.searchsorted(edges, level, side="right")
    found = np.zeros((blocks, 2 * BINS))
    for place, kind in ((0, FAULT), (BINS, NORMAL)):
        mine = (truth == kind) & np.isfinite(level)
        np.add.at(found, (block[mine], place + number[mine]), 1.0)
    return found


def edges_of(levels: Floats) -> Floats:
    """Levels between BINS bins that hold about as many readings each."""
    finite = levels[np.isfinite(levels)]
    return np.unique(np.quantile(finite, np.arange(1, BINS) / BINS)) if len(finite) else np.zeros(0)


def curve(sums: Floats) -> tuple[Floats, Floats]:
    """Recall and precision [..., BINS] of sums [..., COLUMNS], from the highest level down."""
    hits = np.cumsum(sums[..., COUNTED : COUNTED + BINS][..., ::-1], axis=-1)
    false = np.cumsum(sums[..., COUNTED + BINS :][..., ::-1], axis=-1)
    return _ratio(hits, hits[..., -1:]), _ratio(hits, hits + false)


def average_precision(sums: Floats) -> Floats:
    """Area under precision over recall, as a sum over the steps of recall (no interpolation), by BINS levels."""
    recall, precision = curve(sums)
    gained = np.diff(recall, axis=-1, prepend=0.0)
    return np.asarray(np.where(np.isfinite(recall[..., -1]), np.nansum(gained * precision, axis=-1), np.nan))


def _ratio(over: Floats, under: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(under > 0, over / under, np.nan))


# Each takes sums [..., COLUMNS] and gives [...]; NaN where it is not defined.
_RATIOS: Mapping[str, Callable[[Floats], Floats]] = {
    "f1": lambda s: _ratio(2 * s[..., TP], 2 * s[..., TP] + s[..., FP] + s[..., FN]),
    "false_alarm_rate": lambda s: _ratio(s[..., FP], s[..., FP] + s[..., TN]),
    "missed_rate": lambda s: _ratio(s[..., FN], s[..., TP] + s[..., FN]),
    "alarm_precision": lambda s: _ratio(s[..., RIGHT], s[..., OPENED]),
    "fault_recall": lambda s: _ratio(s[..., FOUND], s[..., FAULTS]),
    "alarms_per_week": lambda s: _ratio(s[..., OPENED] * WEEK_MS, s[..., MS]),
}
FIGURES: Mapping[str, Callable[[Floats], Floats]] = {**_RATIOS, "average_precision": average_precision}
BOUNDS = {name: (0.0, math.inf if name == "alarms_per_week" else 1.0) for name in FIGURES}
FALSE_ALARMS = ("false_alarm_rate", "alarms_per_week")
LABELLED = ("average_precision", "f1", "false_alarm_rate", "missed_rate", "alarm_precision", "fault_recall")


@dataclass(frozen=True)
class Blocks:
    """Counts of both models by block: [blocks, 2, COLUMNS], and which asset each block is of."""

    asset: Ints
    counts: Floats

    def of(self, asset: int) -> Blocks:
        """Those of one asset."""
        mine = self.asset == asset
        return Blocks(np.zeros(int(mine.sum()), np.int64), self.counts[mine])

    def of_these(self) -> Blocks:
        """The same, asked of these assets only and not of others like them."""
        return Blocks(np.zeros(len(self.asset), np.int64), self.counts)

    @property
    def drawn(self) -> Literal["assets", "blocks"]:
        """What is drawn anew: `assets` where there are LEAST_ASSETS, else `blocks`."""
        return "assets" if len(np.unique(self.asset)) >= LEAST_ASSETS else "blocks"

    def units(self) -> Floats:
        """Counts [units, 2, COLUMNS] of what is drawn anew."""
        names = np.unique(self.asset)
        if self.drawn == "blocks":
            return self.counts
        return np.array([self.counts[self.asset == name].sum(axis=0) for name in names])
