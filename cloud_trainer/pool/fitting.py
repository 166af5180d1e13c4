"""Fits layers by Adam with decoupled weight decay; the weights that are kept are the mean of those of the second half.

Loshchilov and Hutter, ICLR 2019; Polyak and Juditsky 1992. The number of steps is given, never a time, and products
run in one thread: the same windows, seed and steps give the same bytes on one kind of processor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from cloud_trainer.pool.layers import Array, Layer, slopes, with_parts

BATCH = 128
_DECAY = 1e-3
_WARM = 50  # steps
_FIRST, _SECOND = 0.9, 0.999  # how fast Adam forgets
_FLOOR = 1e-8
_KEPT = 0.5  # share of the steps before the weights that are kept
Target = Callable[[Array], tuple[Array, Array]]  # from windows to what the layers take and what they should give


def fit(
    layers: Sequence[Layer], windows: Array, target: Target, *, steps: int, rate: float, noise: float, seed: int
) -> tuple[Layer, ...]:
    """Layers fitted to windows float32 [n, rows, channels]; `noise` is added to what they take, in its unit."""
    rng = np.random.default_rng(seed)
    parts = [part.copy() for each in layers for part in (each.weights, each.bias)]
    first, second = [np.zeros_like(part) for part in parts], [np.zeros_like(part) for part in parts]
    kept = [np.zeros(part.shape) for part in parts]
    batch, order, at, count = min(BATCH, len(windows)), rng.permutation(len(windows)), 0, 0
    with threadpool_limits(1):  # the sums of a product depend on how many threads share it
        for step in range(1, steps + 1):
            if at + batch > len(windows):
                order, at = rng.permutation(len(windows)), 0
            some, at = windows[order[at : at + batch]], at + batch
            x, wanted = target(some)
            if noise:
                x = x + rng.normal(0, noise, x.shape).astype(np.float32)
            found = slopes(with_parts(layers, parts), x, wanted)[1]
            pace = rate * min(1.0, step / _WARM) * 0.5 * (1 + np.cos(np.pi * step / steps))
            _move(parts, found, first, second, np.float32(pace), step)
            if step > _KEPT * steps:
                count += 1
                for mean, part in zip(kept, parts, strict=True):
                    np.add(mean, (part - mean) / count, out=mean)
    return with_parts(layers, kept)


def _move(
    parts: list[Array], found: list[Array], first: list[Array], second: list[Array], rate: np.float32, step: int
) -> None:
    """One step of Adam, in place; weights decay, biases do not."""
    for number, (part, slope) in enumerate(zip(parts, found, strict=True)):
        first[number] += np.float32(1 - _FIRST) * (slope - first[number])
        second[number] += np.float32(1 - _SECOND) * (slope * slope - second[number])
        long = np.sqrt(second[number] / np.float32(1 - _SECOND**step)) + np.float32(_FLOOR)
        move = first[number] / np.float32(1 - _FIRST**step) / long
        np.subtract(part, rate * (move if number % 2 else move + np.float32(_DECAY) * part), out=part)
