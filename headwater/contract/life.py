"""What a model of remaining life promises: up to where it counts, when it warns, and how far off it may be.

Its score is `most` less the cycles that remain, so that a high score is a bad one, as of any other model. Intervals are
by bin of what was predicted (`edges` between them): what is added to it for either end. Edge and trainer compute them
by this code.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.contract.errors import BadInput

Floats = npt.NDArray[np.float64]
_MOST_BINS = 1_000


class Remaining(NamedTuple):
    """What is left of a life, between `low` and `high`, in cycles."""

    cycles: float
    low: float
    high: float


class LifeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All but `promised`, a share, are cycles: a life is not told apart beyond `most`; an alarm comes below `warn`."""

    most: float
    warn: float
    edges: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    promised: float = 0.9

    def check(self) -> None:
        """Raise BadInput unless these numbers can be."""
        if not (0 < self.warn < self.most < 1e9 and 0 < self.promised < 1):
            raise BadInput(f"remaining life up to {self.most:g}, warning below {self.warn:g}: out of bounds")
        bins = len(self.edges) + 1
        if not len(self.below) == len(self.above) == bins <= _MOST_BINS:
            raise BadInput(f"intervals of remaining life: {len(self.below)} and {len(self.above)} ends for {bins} bins")
        if not np.isfinite((*self.edges, *self.below, *self.above)).all() or (np.diff(self.edges) <= 0).any():
            raise BadInput("intervals of remaining life are not finite, or their edges do not rise")

    @property
    def threshold(self) -> float:
        """The score at which remaining life is `warn`."""
        return self.most - self.warn

    def told(self, score: float) -> Remaining:
        """What one finite score says: the same bits as `remaining` and `of`, in a tenth of their time."""
        left = min(max(self.most - score, 0.0), self.most)
        number = bisect_right(self.edges, left)
        low, high = (min(max(left + by[number], 0.0), self.most) for by in (self.below, self.above))
        return Remaining(left, low, high)

    def remaining(self, scores: Floats) -> Floats:
        """Cycles that remain [n] by these scores, cut to 0 … most; NaN where a score is no number."""
        return np.clip(self.most - np.asarray(scores, np.float64), 0.0, self.most)

    def of(self, predicted: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends [n] of the intervals around these predictions, cut to 0 … most."""
        number = np.searchsorted(self.edges, predicted, side="right")
        low = np.clip(predicted + np.array(self.below)[number], 0.0, self.most)
        high = np.clip(predicted + np.array(self.above)[number], 0.0, self.most)
        return low, high
