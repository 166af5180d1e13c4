"""How far off a prediction may be: intervals that hold a given share of what is true, by what was predicted.

Split conformal prediction within bins of the prediction (Mondrian: Vovk, Gammerman, Shafer, Algorithmic Learning in a
Random World, 2005): in each bin the quantiles of what was off on assets that the network has not seen. It promises its
share where the assets to come are like those; rows of one asset are alike, so with few assets it promises less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cloud_trainer.life.histories import Floats
from cloud_trainer.life.recipe import LifeRecipe
from headwater.contract.life import LifeSpec

_BINS = 7
_LEAST = 20  # rows in a bin


def calibrate(predicted: Floats, left: Floats, recipe: LifeRecipe) -> LifeSpec:
    """Intervals that miss the recipe's share of rows like these, half of it on either side; `left` is cut to `most`."""
    most, missed = recipe.most, recipe.missed
    truth = np.minimum(left, most)
    count = max(1, min(_BINS, len(predicted) // _LEAST))
    edges = np.unique(np.quantile(predicted, np.arange(1, count) / count))
    number = np.searchsorted(edges, predicted, side="right")
    off = [np.sort((truth - predicted)[number == each]) for each in range(len(edges) + 1)]
    return LifeSpec(
        most,
        recipe.warn,
        tuple(edges.tolist()),
        tuple(_lower(each, missed / 2) for each in off),
        tuple(-_lower(-each[::-1], missed / 2) for each in off),
        promised=1 - missed,
    )


def _lower(values: Sequence[float] | Floats, share: float) -> float:
    """The value below which at most `share` of the rows to come lie: of rank ⌊(n + 1) share⌋, or the lowest."""
    if not len(values):
        return 0.0
    return float(values[max(0, math.floor((len(values) + 1) * share) - 1)])
