"""Whether a channel reads as it did at another time, under whichever version its sketches were made. Pure.

Bins are in the scale of a version, so that those of two versions cannot be compared; means and spreads can, once they
are in one scale. Two normal distributions differ by J = (a²/b² + b²/a² - 2) / 2 + d² (1/a² + 1/b²) / 2, the divergence
of Jeffreys (1946) for deviations a and b and a distance d of the means: the same measure as the population stability
index, without bins. A spread counts as no less than that of the training, 1 in its scale: an hour is narrower than a
year, and where it lies within the year is no change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from headwater.contract.features import FeatureSpec
from headwater.contract.sketches import Channel, Sketch, merged


class Moments(NamedTuple):
    """Mean and standard deviation of a channel, in a scale; NaN without a value."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, channel: Channel) -> Moments:
        """In the scale that the sketch was made in."""
        if not channel.count:
            return cls(math.nan, math.nan)
        return cls(channel.mean, math.sqrt(channel.m2 / channel.count))


def moments_of(key: str, sketches: Sequence[Sketch], made_in: FeatureSpec, wanted: FeatureSpec) -> dict[str, Moments]:
    """Of each channel of an asset that both have: from the scale of the features `made_in` to that of `wanted`."""
    old, new, found = made_in.scaling_of(key), wanted.scaling_of(key), {}
    for i, name in enumerate(wanted.channels):
        parts = [one.channels[name] for one in sketches if name in one.channels]
        if name not in made_in.channels or not parts:
            continue
        j = made_in.channels.index(name)
        mean, deviation = Moments.of(merged(parts))
        ratio = old.scale[j] / new.scale[i]
        found[name] = Moments((old.centre[j] - new.centre[i]) / new.scale[i] + mean * ratio, deviation * ratio)
    return found


def apart(one: Moments, other: Moments) -> float:
    """How far two times of a channel are from each other; infinite where one of them has no value."""
    a, b, d = max(one.deviation, 1.0), max(other.deviation, 1.0), one.mean - other.mean
    if not all(map(math.isfinite, (*one, *other))):
        return math.inf
    return (a * a / (b * b) + b * b / (a * a) - 2) / 2 + d * d * (1 / (a * a) + 1 / (b * b)) / 2
