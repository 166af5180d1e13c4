"""Who finds more: detectors compared on healthy windows and injected faults that none was fitted to.

`found` is the share of faulty windows over the level that a share of the healthy ones exceeds, the mean over the kinds
of fault and over the shares of FALSE. A detector beats another where the difference of their `found`, block by
block of the same windows, has a lower bound above zero (one-sided, 95 %): neighbouring windows share readings, blocks
of them nearly none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_trainer.pool.detector import Detector, Healthy, vectors
from cloud_trainer.pool.faults import inject
from cloud_trainer.series import Floats, Vectors

FALSE = (0.05, 0.02, 0.01)  # shares of healthy windows over the level
_BLOCK = 12  # windows
_LOWER = 1.645  # standard errors below the mean: one-sided 95 %


@dataclass(frozen=True)
class Arena:
    """Healthy windows and the same with faults, and the block that each belongs to."""

    healthy: Floats
    faulty: Mapping[str, Floats]
    block: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.healthy)


@dataclass(frozen=True)
class Result:
    """What a detector finds in an arena: in all, by kind of fault, and by block of windows."""

    found: float
    kinds: dict[str, float]
    blocks: Floats

    def margin_over(self, other: Result) -> float:
        """Lower bound of how much more this one finds; above zero it is better beyond chance."""
        apart = self.blocks - other.blocks
        if len(apart) < 2:
            return -1.0
        return float(apart.mean() - _LOWER * apart.std(ddof=1) / np.sqrt(len(apart)))


def arena(windows: Healthy, seed: int, most: int) -> Arena:
    """An arena of at most about `most` windows, whole blocks of each asset spread over its time."""
    parts, blocks, count = [], [], 0
    total = sum(map(len, windows.values()))
    every = max(1, -(-total // most))
    for _, some in sorted(windows.items()):
        number = np.arange(len(some)) // _BLOCK
        chosen = number % every == 0
        parts.append(some[chosen])
        blocks.append(number[chosen] // every + count)
        count += int(number[chosen].max() // every) + 1 if chosen.any() else 0
    healthy = np.concatenate(parts)
    return Arena(healthy, inject(healthy, seed), np.concatenate(blocks))


def compete(detector: Detector, where: Arena) -> Result:
    """What a detector finds."""
    calm = _scores(detector, vectors(detector.layout, where.healthy))
    levels = np.quantile(calm, [1 - share for share in FALSE])
    count = np.bincount(where.block)
    kinds, blocks = {}, np.zeros(len(count))
    for kind, windows in where.faulty.items():
        over = _scores(detector, vectors(detector.layout, windows))[:, None] > levels
        hit = over.mean(axis=1)
        kinds[kind] = float(hit.mean())
        blocks += np.bincount(where.block, weights=hit) / count / len(where.faulty)
    return Result(float(np.mean(list(kinds.values()))), kinds, blocks)


def _scores(detector: Detector, rows: Vectors) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        scores = detector.levels(rows)
    return np.where(np.isfinite(scores), scores, np.inf)
