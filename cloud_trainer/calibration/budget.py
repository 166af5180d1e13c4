"""The margin that keeps a machine to so many alarm episodes a week, from healthy readings of the whole fleet.

Each block of a machine is scored by limits that have not seen it. The highest sustained scores of `BLOCK_ROWS` rows,
pooled over the fleet, are fitted with Gumbel's distribution (1935) through their median and 90 % point, which a few
wild blocks do not move. The margin is the score that as many of a week's spans pass as the budget allows episodes.
What this can promise holds while the machine stays where it was calibrated (`Verdict.is_void`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cloud_trainer.calibration.limits import BLOCKS, between, limits_of, scaling, t_squared
from headwater.contract.episodes import Floats
from headwater.contract.errors import BadInput

BLOCK_ROWS = 40
WEEK_S = 7 * 24 * 3600.0
LEAST, MOST = 1.5, 6.0
_FEW = 20
_SHORTEST = 10
_LOW, _HIGH = 0.5, 0.9


class Margin(NamedTuple):
    """The margin, and what it stands on."""

    margin: float
    spans: int  # of healthy rows, BLOCK_ROWS or an eighth of the shortest series, whichever is less
    location: float  # of the fitted distribution, in limits
    scale: float
    keeps_a_week: float  # what the margin keeps by that fit: more than was asked for where it is cut to MOST


def sustained(values: Floats, window: int, onset: int, span: int = BLOCK_ROWS) -> list[float]:
    """The highest scores that `onset` rows in a row reach, by span of rows, in healthy readings [n, channels]."""
    z = (values - (of := scaling(values)).centre) / of.scale
    blocks, distances = np.array_split(z, BLOCKS), between(z, window)
    found = []
    for number, mine in enumerate(distances):
        others = np.concatenate([each for other, each in enumerate(distances) if other != number])
        limits, whitener = limits_of(others, blocks)
        units = mine / limits
        score = np.maximum(np.abs(units).max(axis=1), t_squared(whitener, units))
        held = np.lib.stride_tricks.sliding_window_view(score, onset).min(axis=1)
        found += [float(held[n : n + span].max()) for n in range(0, len(held), span) if len(held) - n >= span - onset]
    return found


def margin(fleet: Iterable[Floats], episodes_a_week: float, row_s: float, window: int, onset: int) -> Margin:
    """The margin for a budget; `row_s` seconds from one row to the next. BadInput for too few healthy readings."""
    if not (0 < episodes_a_week <= 10_000 and 0 < row_s <= WEEK_S):
        raise BadInput(f"a budget of {episodes_a_week:g} episodes a week at a row every {row_s:g} s makes no sense")
    machines = list(fleet)
    span = min([BLOCK_ROWS, *(len(values) // BLOCKS // 2 for values in machines)])
    span = max(_SHORTEST, span)
    scores = np.array([score for values in machines for score in sustained(values, window, onset, span)])
    if len(scores) < _FEW:
        raise BadInput(
            f"{len(scores)} spans of {span} healthy rows, {_FEW} are needed to set a margin",
            hint="calibrate on more machines, or on more readings",
        )
    low, high = np.quantile(scores, (_LOW, _HIGH))
    scale = max(float(high - low), 1e-6) / (_reduced(_HIGH) - _reduced(_LOW))
    location = float(low) - scale * _reduced(_LOW)
    passed = min(0.5, episodes_a_week / (WEEK_S / (span * row_s)))
    made = min(MOST, max(LEAST, location + scale * _reduced(1 - passed)))
    keeps = -math.expm1(-math.exp(-(made - location) / scale)) * WEEK_S / (span * row_s)
    return Margin(made, len(scores), location, scale, keeps)


def _reduced(probability: float) -> float:
    return -math.log(-math.log(probability))
