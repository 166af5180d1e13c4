"""Healthy limits of a machine from readings in which nothing was wrong.

Channels are scaled by mean and standard deviation. A limit is the largest distance of a window's mean from the block of
readings before its own, widened by how much the means of blocks differ: what a machine does within two blocks is
healthy, however far it drifts in all. Hotelling's T² (1931) of these distances, over its own largest value, stands for
the network where none was trained, and beside it in every comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from headwater.contract.episodes import Flags, Floats
from headwater.contract.errors import BadInput

BLOCKS = 4
WANDERS = 0.7
_LEAST = 0.05  # of a standard deviation
_SHRINK = 0.05  # of the mean variance, added to every channel's
_TINY = 1e-9


class Scaling(NamedTuple):
    """Mean and standard deviation of each channel, in its unit."""

    centre: Floats
    scale: Floats

    def rows(self, values: Floats, window: int) -> Floats:
        """Scaled means of the last `window` readings (of those that there are) up to each: [n, channels]."""
        return causal_means((values - self.centre) / self.scale, window)


class Healthy(NamedTuple):
    """Where a machine runs and how far it goes [channels], in scaled units; T² in these limits [channels, channels]."""

    centre: Floats
    limits: Floats
    whitener: Floats


def scaling(values: Floats) -> Scaling:
    """Of healthy readings [n, channels] without gaps; BadInput for fewer than four blocks can be made of."""
    if len(values) < 10 * BLOCKS or not np.isfinite(values).all():
        raise BadInput(f"{len(values)} readings, or values that are not finite, are not enough to calibrate on")
    return Scaling(values.mean(axis=0), np.maximum(values.std(axis=0), _TINY))


def steady(machines: Sequence[Floats]) -> Flags:
    """Which channels say something by where they are [channels], from healthy readings [n, channels] by machine.

    One whose readings resemble the one before (autocorrelation at lag 1, median over the machines) wanders by itself:
    where it is tells of the last hours, not of a fault. All are steady where every one wanders.
    """
    likeness = []
    for values in machines:
        off = values - values.mean(axis=0)
        likeness.append((off[1:] * off[:-1]).sum(axis=0) / ((off * off).sum(axis=0) + _TINY))
    found = np.median(likeness, axis=0) < WANDERS
    return np.asarray(found if found.any() else np.ones_like(found))


def causal_means(values: Floats, window: int) -> Floats:
    """Mean of the last `window` rows up to each, of fewer at the beginning."""
    filled = np.concatenate([np.full((window - 1, values.shape[1]), np.nan), values])
    seen = np.lib.stride_tricks.sliding_window_view(filled, window, axis=0)
    whole = np.ascontiguousarray(seen[window - 1 :]).mean(axis=-1) if len(values) >= window else values[:0]
    start = [values[: n + 1].mean(axis=0) for n in range(min(window - 1, len(values)))]
    return np.concatenate([np.array(start).reshape(-1, values.shape[1]), whole])


def healthy(values: Floats, of: Scaling, window: int) -> Healthy:
    """Limits from healthy readings [n, channels], in the scaled units of `of`."""
    z = (values - of.centre) / of.scale
    blocks = np.array_split(z, BLOCKS)
    distances = between(z, window)
    limits, whitener = limits_of(np.concatenate(distances), blocks)
    return Healthy((np.median(z, axis=0) + blocks[-1].mean(axis=0)) / 2, limits, whitener)


def between(z: Floats, window: int) -> list[Floats]:
    """For each block but the first: windows' means less the mean of the block before."""
    means = np.array_split(causal_means(z, window), BLOCKS)
    blocks = np.array_split(z, BLOCKS)
    return [mine - before.mean(axis=0) for mine, before in zip(means[1:], blocks[:-1], strict=True)]


def limits_of(distances: Floats, blocks: list[Floats]) -> tuple[Floats, Floats]:
    """Limits [channels] and whitener [channels, channels] of these distances [n, channels]."""
    spread = np.array([block.mean(axis=0) for block in blocks]).std(axis=0, ddof=1)
    limits = np.maximum(np.sqrt(np.abs(distances).max(axis=0) ** 2 + spread**2), _LEAST)
    units = distances / limits
    covariance = np.einsum("ni,nj->ij", units, units) / len(units)
    covariance += _SHRINK * np.eye(len(limits)) * np.trace(covariance) / len(limits)
    whitener = np.linalg.inv(np.linalg.cholesky(covariance))
    return limits, whitener / t_squared(whitener, units).max()


def t_squared(whitener: Floats, deviation: Floats) -> Floats:
    """Root of T² of deviations [n, channels] in limits; 1 is the largest that was healthy. A whitener each, or one."""
    turned = (whitener * deviation[:, None, :]).sum(axis=2)
    return np.asarray(np.sqrt((turned * turned).sum(axis=1)))
