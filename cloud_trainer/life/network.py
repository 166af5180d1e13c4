"""A small network from features to remaining cycles, trained with numpy alone: the same numbers give the same bytes.

Rectified linear layers; squared error of the share of `most` cycles that are left; Adam with decoupled weight decay
(Loshchilov and Hutter, ICLR 2019), the rate warmed up, then falling along a cosine; the weights that are kept are
the mean of those of the second half (Polyak and Juditsky 1992; Izmailov et al., UAI 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
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
        return np.clip(self.shares(rows) * self.most, 0.0, self.most)

    def shares(self, rows: Vectors) -> Floats:
        """What the last layer says [n], before it is cut to 0 … 1."""
        x = rows.astype(np.float32)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        return np.asarray((x @ self.weights[-1] + self.biases[-1])[:, 0], dtype=np.float64)

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
    with threadpool_limits(1, user_api="blas"):  # the sums of a product depend on how many threads share it
        for step in range(1, steps + 1):
            if at + batch > len(x):
                order, at = rng.permutation(len(x)), 0
            some, at = order[at : at + batch], at + batch
            fit.step(x[some], y[some], w[some], step, steps)
    return _network(fit.kept, centre, scale, most)


def ridge(rows: Vectors, left: Floats, *, most: float) -> Network:
    """The network without hidden layers that ridge regression gives, of standardised features with a penalty of one."""
    centre, scale = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64) + 1e-6
    x = (rows - centre) / scale
    y = np.minimum(left, most) / most
    with threadpool_limits(1, user_api="blas"):
        weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (y - y.mean()))
    return _network([weights[:, None], np.array([y.mean()])], centre, scale, most)


def _network(kept: list[Floats], centre: Floats, scale: Floats, most: float) -> Network:
    weights, biases = kept[::2], kept[1::2]
    biases[0] = biases[0] - (centre / scale) @ weights[0]
    weights[0] = weights[0] / scale[:, None]
    return Network(
        tuple(each.astype(np.float32) for each in weights), tuple(each.astype(np.float32) for each in biases), most
    )


class _Fit:
    """Parameters under training: weight, bias, weight, bias, …, each a view of one row; `kept` is their mean so far."""

    def __init__(self, rng: np.random.Generator, widths: tuple[int, ...], mean: float) -> None:
        drawn: list[Vectors] = []
        for before, behind in pairwise(widths):
            drawn.append(rng.normal(0, np.sqrt(2 / before), (before, behind)).astype(np.float32))
            drawn.append(np.zeros(behind, dtype=np.float32))
        drawn[-1][:] = mean
        self._all = np.concatenate([each.ravel() for each in drawn])
        self._parts = _views(self._all, drawn)
        # Weights decay, biases do not. One row of all: a step costs as many calls as a single parameter would.
        decays = [np.full(each.size, _DECAY if each.ndim > 1 else 0.0, dtype=np.float32) for each in drawn]
        self._decay = np.concatenate(decays)
        self._slope, self._first, self._second = (np.zeros_like(self._all) for _ in range(3))
        self._slopes_of = _views(self._slope, drawn)
        self._kept: Floats = np.zeros(len(self._all))
        self._count = 0

    @property
    def kept(self) -> list[Floats]:
        """The mean of the parameters over the steps that count."""
        return _views(self._kept, self._parts)

    def step(self, x: Vectors, y: Vectors, w: Vectors, step: int, steps: int) -> None:
        """One step down the slope of a batch."""
        self._descend(x, y, w)
        done, slope, first, second = step / steps, self._slope, self._first, self._second
        rate = np.float32(_RATE * min(1.0, step / _WARM) * 0.5 * (1 + np.cos(np.pi * done)))
        first += np.float32(1 - _FIRST) * (slope - first)
        second += np.float32(1 - _SECOND) * (slope * slope - second)
        move = first / np.float32(1 - _FIRST**step) / (np.sqrt(second / np.float32(1 - _SECOND**step)) + _FLOOR)
        np.subtract(self._all, rate * (move + self._decay * self._all), out=self._all)
        if done > _KEPT:
            self._count += 1
            self._kept += (self._all - self._kept) / self._count

    def _descend(self, x: Vectors, y: Vectors, w: Vectors) -> None:
        """The slopes of a batch, into `_slope`."""
        weights, biases = self._parts[::2], self._parts[1::2]
        levels = [x]
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            level = levels[-1] @ weight
            level += bias
            levels.append(np.maximum(level, 0, out=level))
        slope = (levels[-1] @ weights[-1] + biases[-1] - y) * w * np.float32(2 / len(x))
        for number in range(len(weights) - 1, -1, -1):
            np.matmul(levels[number].T, slope, out=self._slopes_of[2 * number])
            slope.sum(axis=0, out=self._slopes_of[2 * number + 1])
            if number:
                slope = slope @ weights[number].T
                slope *= levels[number] > 0


def _views(row: npt.NDArray[Any], like: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """The row divided into arrays of these shapes, one behind the other."""
    ends = np.cumsum([each.size for each in like])
    return [part.reshape(each.shape) for part, each in zip(np.split(row, ends[:-1]), like, strict=True)]
