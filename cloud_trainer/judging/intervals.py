"""Intervals of figures that are ratios of sums, honest for few units.

A unit is what is drawn anew when the question is asked again: an asset, or a block of readings. A figure is taken once
more without each unit, and the spread of these says how far it may be off by chance (jackknife; Tukey, Bias and
Confidence in Not Quite Large Samples, Annals of Mathematical Statistics 29, 1958); a difference once more with both
models in each other's place in each unit. How many standard errors make an
interval depends on what it is for:

- `student`: quantiles of Student's t, for the figures of the whole range.
- `symmetric`: for one part of many, where quantiles far out are asked for, and a normal distribution of few blocks is
  only hoped for. Two models that do not differ may change places in each block, so that differences are as likely on
  either side of zero; then a sum of n of them over the root of the sum of their squares is beyond x with at most 3.178
  times the probability of a normal variable (Bentkus and Dzindzalieta, A tight Gaussian bound for weighted sums of
  Rademacher random variables, Bernoulli 21, 2015), whatever n. It cannot be beyond the root of n: fewer units than
  that reach no interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from cloud_trainer.series import Floats

_RADEMACHER = 3.178
_MOST_FREEDOM = 1000  # beyond it t is normal to three digits


class Spread(NamedTuple):
    """A figure of each model [models], and its standard error; NaN where it is not defined."""

    value: Floats
    error: Floats


def spread_of(statistic: Callable[[Floats], Floats], units: Floats) -> Spread:
    """Of counts [units, models, columns], by leaving out one unit after the other.

    A figure that is undefined without one of the units (all faults are in it) has no error.
    """
    count, total = len(units), units.sum(axis=0)
    whole = statistic(total)
    return Spread(whole, _error(count * whole - (count - 1) * statistic(total - units)))


def difference_of(statistic: Callable[[Floats], Floats], units: Floats) -> tuple[float, float]:
    """What the second of two models has over the first, and its standard error, of counts [units, 2, columns].

    In one unit after the other the two change places: half of what that changes is the unit's share. So a figure at
    the end of its range, which leaving out a unit would not move, still rests on no more units than there are.
    """
    total = units.sum(axis=0)
    whole, changed = statistic(total), statistic(total - units + units[:, ::-1])
    value = whole[1] - whole[0]
    shares = (value - (changed[:, 1] - changed[:, 0])) / 2
    return float(value), float(_error(shares * len(units)))


def _error(values: Floats) -> Floats:
    """Standard error of the mean of values [units, ...]."""
    count = len(values)
    return np.asarray(values.std(axis=0, ddof=1) / math.sqrt(count) if count > 1 else values.sum(axis=0) * np.nan)


def interval(
    value: float, error: float, width: float | None, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[float, float] | None:
    """`width` standard errors to either side, within bounds; None where one of the three is not known."""
    if width is None or not (math.isfinite(value) and math.isfinite(error)):
        return None
    return max(bounds[0], value - width * error), min(bounds[1], value + width * error)


def student(units: int, confidence: float) -> float | None:
    """Standard errors to either side of a mean of so many units; None for one unit."""
    if units < 2:  # one unit has no spread
        return None
    freedom, low, high = min(units - 1, _MOST_FREEDOM), 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return math.tan(high) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """P(|t| < tan(angle) * sqrt(freedom)), a finite sum (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    first = 3 if freedom % 2 else 2
    term = cosine if freedom % 2 else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(first, freedom - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return (angle + sine * total) * 2 / math.pi if freedom % 2 else sine * total


def symmetric(units: int, confidence: float) -> float | None:
    """As `student`, for differences of which only symmetry is known; None where so few units cannot reach it."""
    reach = NormalDist().inv_cdf(1 - (1 - confidence) / 2 / _RADEMACHER) ** 2
    return math.sqrt((units - 1) * reach / (units - reach)) if units > reach else None
