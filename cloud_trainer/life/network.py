"""A small network from features to remaining cycles, trained with numpy alone: the same numbers give the same bytes.

Rectified linear layers; squared error of the share of `most` cycles that are left; Adam with decoupled weight decay
(Loshchilov and Hutter, ICLR 2019), the rate warmed up, then falling along a cosine; the weights that are kept are
the mean of those of the second half (Polyak and Juditsky 1992; Izmailov et al., UAI 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from cloud_trainer.life.histories import Floats, Vectors

_RATE = 3e-3
_DECAY = 0.5
BATCH = 512
_WARM = 200  # steps
_FIRST, _SECOND = 0.9, 0.999  # how fast Adam forgets
_FLOOR = 1e-8
_KEPT = 0.5  # share of the steps before the weights that are kept


@dataclass(frozen=True)
class Network:
    """remaining = most * (the last layer), cut to 0 … most; `weights` [in, out] and `biases` by layer, float32.

    The first layer takes features as they are: their centring and scaling is part of it.
    """

    weights: tuple[Vectors, ...]
    biases: tuple[Vectors, ...]
    most: float

    def predict(self, rows: Vectors) -> Floats:
        """Remaining cycles [n] of feature vectors [n, features]."""
        x = rows.astype(np.float32)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        share = (x @ self.weights[-1] + self.biases[-1])[:, 0]
        return np.clip(share.astype(np.float64) * self.most, 0.0, self.most)

    @property
    def parameters(self) -> int:
        """Numbers in it."""
        return sum(each.size for each in (*self.weights, *self.biases))


def train(
    rows: Vectors, left: Floats, heed: Floats, *, layers: tuple[int, ...], most: float, steps: int, seed: int
) -> Network:
    """Fit a network to features [n, F], remaining cycles [n] and how much each row counts [n]."""
    rng = np.random.default_rng(seed)
    centre, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64) + 1e-6
    x = ((rows - centre) / scale).astype(np.float32)
    y = (np.minimum(left, most) / most).astype(np.float32)[:, None]
    fit = _Fit(rng, (x.shape[1], *layers, 1), float(y.mean()))
    w = heed.astype(np.float32)[:, None]
    batch, order, at = min(BATCH, len(x)), rng.permutation(len(x)), 0
    with threadpool_limits(1):  # the sums of a product depend on how many threads share it
        for step in range(1, steps + 1):
            if at + batch > len(x):
                order, at = rng.permutation(len(x)), 0
            some, at = order[at : at + batch], at + batch
            fit.step(x[some], y[some], w[some], step, steps)
    return _network(fit.kept, centre, scale, most)


def _network(kept: list[Floats], centre: Floats, scale: Floats, most: float) -> Network:
    weights, biases = kept[::2], kept[1::2]
    biases[0] = biases[0] - (centre / scale) @ weights[0]
    weights[0] = weights[0] / scale[:, None]
    return Network(
        tuple(each.astype(np.float32) for each in weights), tuple(each.astype(np.float32) for each in biases), most
    )


class _Fit:
    """Parameters under training: weight, bias, weight, bias, …; `kept` is their mean so far."""

    def __init__(self, rng: np.random.Generator, widths: tuple[int, ...], mean: float) -> None:
        self._parts: list[Vectors] = []
        for before, behind in pairwise(widths):
            self._parts.append(rng.normal(0, np.sqrt(2 / before), (before, behind)).astype(np.float32))
            self._parts.append(np.zeros(behind, dtype=np.float32))
        self._parts[-1][:] = mean
        self._first = [np.zeros_like(each) for each in self._parts]
        self._second = [np.zeros_like(each) for each in self._parts]
        self.kept: list[Floats] = [np.zeros(each.shape) for each in self._parts]
        self._count = 0

    def step(self, x: Vectors, y: Vectors, w: Vectors, step: int, steps: int) -> None:
        """One step down the slope of a batch."""
        slopes = self._slopes(x, y, w)
        done = step / steps
        rate = np.float32(_RATE * min(1.0, step / _WARM) * 0.5 * (1 + np.cos(np.pi * done)))
        for number, (part, slope) in enumerate(zip(self._parts, slopes, strict=True)):
            first, second = self._first[number], self._second[number]
            first += np.float32(1 - _FIRST) * (slope - first)
            second += np.float32(1 - _SECOND) * (slope * slope - second)
            move = first / np.float32(1 - _FIRST**step) / (np.sqrt(second / np.float32(1 - _SECOND**step)) + _FLOOR)
            is_weight = number % 2 == 0
            np.subtract(part, rate * (move + np.float32(_DECAY) * part if is_weight else move), out=part)
        if done > _KEPT:
            self._count += 1
            for mean, part in zip(self.kept, self._parts, strict=True):
                np.add(mean, (part - mean) / self._count, out=mean)

    def _slopes(self, x: Vectors, y: Vectors, w: Vectors) -> list[Vectors]:
        weights, biases = self._parts[::2], self._parts[1::2]
        levels = [x]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            levels.append(np.maximum(levels[-1] @ weight + bias, 0))
        slope = (levels[-1] @ weights[-1] + biases[-1] - y) * w * np.float32(2 / len(x))
        found: list[Vectors] = []
        for number in range(len(weights) - 1, -1, -1):
            found[:0] = [levels[number].T @ slope, slope.sum(axis=0)]
            if number:
                slope = (slope @ weights[number].T) * (levels[number] > 0)
        return found
