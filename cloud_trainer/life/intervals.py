"""How far off a prediction may be: intervals that hold a given share of what is true, by what was predicted.

Split conformal prediction within bins of the prediction (Mondrian: Vovk, Gammerman, Shafer, Algorithmic Learning in a
Random World, 2005): in each bin the quantiles of what was off on assets that the network has not seen. It promises its
share where the assets to come are like those; rows of one asset are alike, so with few assets it promises less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloud_trainer.life.histories import Floats

_BINS = 7
_LEAST = 20  # rows in a bin


@dataclass(frozen=True)
class Intervals:
    """By bin of the prediction (`edges` between them): what is added to it for either end, in cycles."""

    edges: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]
    most: float

    def of(self, predicted: Floats) -> tuple[Floats, Floats]:
        """Lower and upper ends [n], cut to 0 … most."""
        number = np.searchsorted(self.edges, predicted, side="right")
        low = np.clip(predicted + np.array(self.below)[number], 0.0, self.most)
        high = np.clip(predicted + np.array(self.above)[number], 0.0, self.most)
        return low, high


def calibrate(predicted: Floats, left: Floats, *, most: float, missed: float) -> Intervals:
    """Intervals that miss a share `missed` of rows like these, half of it on either side; `left` is cut to `most`."""
    truth = np.minimum(left, most)
    count = max(1, min(_BINS, len(predicted) // _LEAST))
    edges = np.unique(np.quantile(predicted, np.arange(1, count) / count))
    number = np.searchsorted(edges, predicted, side="right")
    off = [np.sort((truth - predicted)[number == each]) for each in range(len(edges) + 1)]
    return Intervals(
        tuple(edges.tolist()),
        tuple(_lower(each, missed / 2) for each in off),
        tuple(-_lower(-each[::-1], missed / 2) for each in off),
        most,
    )


def _lower(values: Sequence[float] | Floats, share: float) -> float:
    """The value below which at most `share` of the rows to come lie: of rank ⌊(n + 1) share⌋, or the lowest."""
    if not len(values):
        return 0.0
    return float(values[max(0, math.floor((len(values) + 1) * share) - 1)])
