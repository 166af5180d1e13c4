"""How far off a prediction may be: intervals that hold a given share of what is true, by what was predicted.

Split conformal prediction within bins of the prediction (Mondrian: Vovk, Gammerman, Shafer, Algorithmic Learning in a
Random World, 2005): in each bin the quantiles of what was off on assets that the network has not seen. It promises its
share where the assets to come are like those. Rows of one asset are alike, so it is assets that are counted, and
with few of them intervals are wider.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from cloud_trainer.life.histories import Floats
from cloud_trainer.life.recipe import LifeRecipe
from headwater.contract.life import LifeSpec

Numbers = npt.NDArray[np.int64]
_BINS = 5
_LEAST = 20  # rows in a bin
_ASSETS = 4  # for each bin


def calibrate(predicted: Floats, left: Floats, recipe: LifeRecipe, owners: Numbers | None = None) -> LifeSpec:
    """Intervals that miss the recipe's share of rows like these, half of it on either side; `left` is cut to `most`.

    `owners` [n] says whose row each is; without it each is of an asset of its own. A bin promises what its assets can.
    """
    most, missed = recipe.most, recipe.missed
    off = np.minimum(left, most) - predicted
    whose = np.arange(len(predicted)) if owners is None else owners
    count = max(1, min(_BINS, len(predicted) // _LEAST, len(np.unique(whose)) // _ASSETS))
    edges = np.unique(np.quantile(predicted, np.arange(1, count) / count))
    number = np.searchsorted(edges, predicted, side="right")
    bins = [number == each for each in range(len(edges) + 1)]
    shares = [_share(len(np.unique(whose[each])), missed / 2) for each in bins]
    return LifeSpec(
        most,
        recipe.warn,
        tuple(edges.tolist()),
        tuple(_lower(np.sort(off[each]), share) for each, share in zip(bins, shares, strict=True)),
        tuple(-_lower(np.sort(-off[each]), share) for each, share in zip(bins, shares, strict=True)),
        promised=1 - missed,
    )


def _share(assets: int, share: float) -> float:
    """What may lie below so that of the next asset's rows at most `share` do: ⌊(m + 1) share⌋ of m assets' share."""
    return math.floor((assets + 1) * share) / max(1, assets)


def _lower(values: Floats, share: float) -> float:
    """The value below which a share of these lies, or the lowest."""
    if not len(values):
        return 0.0
    return float(values[max(0, math.floor(len(values) * share + 1e-9) - 1)])
