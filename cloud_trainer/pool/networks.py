"""Networks that learn what a healthy window looks like; what they do not explain of a window is judged by T².

- `dense-ae`: an autoencoder of dense layers over the whole vector, of either layout;
- `conv1d-ae`: an autoencoder of convolutions over the window, narrowed by strides and by its channels;
- `causal-tcn`: dilated convolutions that predict each reading from those before it (van den Oord et al. 2016; Bai,
  Kolter and Koltun 2018).

Of means and spreads the residual itself is whitened. Of whole windows three parts a channel are: the residual's mean
and log spread over time, and the log spread of the readings themselves, in which a frozen sensor stands out. The head
is that of T² (hotelling.py), so a network that explained nothing would be T² again: it has to earn its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from cloud_trainer.linear import Linear
from cloud_trainer.pool import network_export
from cloud_trainer.pool.detector import Healthy, Layout, vectors
from cloud_trainer.pool.fitting import BATCH, fit
from cloud_trainer.pool.hotelling import whiten
from cloud_trainer.pool.layers import Array, Layer, layer, run, work
from cloud_trainer.pool.quantising import Integers, quantise
from cloud_trainer.series import Floats, Vectors
from headwater.contract.features import LOG_FLOOR

DENSE, CONV, TCN = "dense-ae", "conv1d-ae", "causal-tcn"
_MOST_FITTED = 20_000  # windows: more of them cost steps and memory, and say little more of a network of this size
_MOST_SCALED = 8.0  # what a healthy reading is cut to in training
_CHUNK = 2_000  # windows scored at once
_STEP_S, _WORK_S = 2.5e-4, 1.3e-9  # seconds a step, and a multiplication of a step forward and backward


@dataclass(frozen=True)
class Shape:
    """How a vector [F] becomes what the layers take: rows of values, all but the last where the next is predicted."""

    layout: Layout
    window: int
    channels: int
    is_flat: bool  # the layers take the vector as one row
    is_ahead: bool = False  # the layers predict the next reading

    @property
    def features(self) -> int:
        """F."""
        return self.channels * (2 if self.layout == "summary" else self.window)

    def taken(self, rows: Array) -> Array:
        """What the layers take of vectors [n, F]."""
        if self.is_flat:
            return rows[:, None, :]
        windows = rows.reshape(len(rows), self.window, self.channels)
        return windows[:, :-1] if self.is_ahead else windows

    def wanted(self, rows: Array, given: int) -> Array:
        """What the layers should give, of which there are `given` rows."""
        if self.is_flat:
            return rows[:, None, :]
        return rows.reshape(len(rows), self.window, self.channels)[:, self.window - given :]


@dataclass(frozen=True)
class Network:
    """A fitted network with its head."""

    shape: Shape
    layers: tuple[Layer, ...]
    head: Linear
    name: str
    integers: Integers | None = None  # of layers that are computed in int8

    @property
    def layout(self) -> Layout:
        """See Detector."""
        return self.shape.layout

    def score(self, rows: Vectors) -> tuple[Floats, Floats]:
        """Scores and contributions in float64: what a runtime is held to."""
        found = [self.head.score(residual(self.shape, self.layers, part, self.integers)) for part in _chunks(rows)]
        if not found:
            return np.zeros(0), np.zeros((0, len(self.head.bias)))
        return np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])

    def levels(self, rows: Vectors) -> Floats:
        """See Detector."""
        return self.score(rows)[0]

    def export(self) -> bytes:
        """The .tflite."""
        return network_export.export(self.name, self.shape, self.layers, self.head, self.integers)


def residual(shape: Shape, layers: tuple[Layer, ...], rows: Vectors, integers: Integers | None = None) -> Floats:
    """What the head takes [n, P] of vectors [n, F], in float64 behind layers in float64 or int8."""
    exact = rows.astype(np.float64)
    taken = shape.taken(exact)
    given = run(layers, taken) if integers is None else integers.forward(layers, taken)
    off = shape.wanted(exact, given.shape[1]) - given
    if shape.layout == "summary":
        return np.asarray(off[:, 0])
    off = off.reshape(len(rows), -1, shape.channels)
    windows = exact.reshape(len(rows), shape.window, shape.channels)
    parts = [off.mean(axis=1), _spread(off), _spread(windows)]
    return np.concatenate(parts, axis=1)


def _spread(rows: Floats) -> Floats:
    return np.asarray(np.log(rows.std(axis=1) + LOG_FLOOR))


def _chunks(rows: Vectors) -> list[Vectors]:
    return [rows[at : at + _CHUNK] for at in range(0, len(rows), _CHUNK)]


@dataclass(frozen=True)
class NetworkMember:
    """One of the families with its hyper-parameters: `hidden` channels, `latent` in the middle, `kernel` of rows."""

    family: str
    layout: Layout
    hidden: int
    latent: int
    kernel: int
    steps: int
    rate: float
    noise: float
    shrink: float
    horizon: float
    precision: Literal["float32", "int8"] = "float32"

    @property
    def settings(self) -> dict[str, float | int | str]:
        """See Member."""
        names = ("layout", "hidden", "latent", "kernel", "steps", "rate", "noise", "precision")
        return {name: getattr(self, name) for name in names}

    def seconds(self, windows: int, window: int, channels: int) -> float:
        """See Member."""
        shape = self._shape(window, channels)
        layers = self._layers(shape, np.random.default_rng(0))
        once = work(layers, 1 if shape.is_flat else window)
        fitted = min(windows, _MOST_FITTED)
        return self.steps * (_STEP_S * len(layers) + min(BATCH, fitted) * once * _WORK_S) + windows * once * 2e-9

    def fit(self, healthy: Healthy, seed: int) -> Network:
        """See Member."""
        _, window, channels = next(iter(healthy.values())).shape
        shape = self._shape(window, channels)
        rows = {key: vectors(self.layout, windows) for key, windows in healthy.items()}
        everything = np.concatenate(list(rows.values()))
        some = everything[:: -(-len(everything) // _MOST_FITTED)]
        rng = np.random.default_rng((seed, 1))
        fitted = self._fitted(shape, self._layers(shape, rng), some, seed)
        integers = quantise(fitted, shape.taken(some)) if self.precision == "int8" else None
        parts = {
            key: np.concatenate([residual(shape, fitted, part, integers) for part in _chunks(own)])
            for key, own in rows.items()
            if len(own)
        }
        return Network(shape, fitted, whiten(parts, self.shrink, self.horizon), self.family, integers)

    def _fitted(self, shape: Shape, layers: tuple[Layer, ...], some: Vectors, seed: int) -> tuple[Layer, ...]:
        if shape.layout == "window":
            centre, scale = np.zeros(shape.features), np.ones(shape.features)
        else:  # logarithms of spreads lie far from zero
            centre, scale = some.mean(axis=0, dtype=np.float64), some.std(axis=0, dtype=np.float64) + 1e-6
        x = np.clip((some - centre) / scale, -_MOST_SCALED, _MOST_SCALED).astype(np.float32)
        given = run(layers, shape.taken(x[:1])).shape[1]
        done = fit(
            layers,
            x,
            lambda rows: (shape.taken(rows), shape.wanted(rows, given)),
            steps=self.steps,
            rate=self.rate,
            noise=self.noise,
            seed=seed,
        )
        return done if shape.layout == "window" else _unscaled(done, centre, scale)

    def _shape(self, window: int, channels: int) -> Shape:
        return Shape(self.layout, window, channels, self.family == DENSE, self.family == TCN)

    def _layers(self, shape: Shape, rng: np.random.Generator) -> tuple[Layer, ...]:
        if self.family == DENSE:
            widths = (shape.features, self.hidden, self.latent, self.hidden, shape.features)
            return tuple(layer(rng, 1, a, b, rectified=n in (0, 2)) for n, (a, b) in enumerate(pairwise(widths)))
        if self.family == TCN:
            return self._causal(shape, rng)
        stride = next(s for s in (4, 2, 1) if shape.window % s == 0)
        channels, hidden = shape.channels, self.hidden
        return (
            layer(rng, self.kernel, channels, hidden, same=True, rectified=True),
            layer(rng, max(self.kernel, stride), hidden, self.latent, stride=stride, same=True),
            layer(rng, 1, self.latent, hidden * stride, rectified=True, unfold=stride),
            layer(rng, self.kernel, hidden, channels, same=True),
        )

    def _causal(self, shape: Shape, rng: np.random.Generator) -> tuple[Layer, ...]:
        """Dilations grow while half of the window is left to be predicted."""
        found: list[Layer] = []
        taken, dilation, seen = shape.channels, 1, 1
        while not found or seen + (self.kernel - 1) * dilation <= shape.window // 2:
            found.append(layer(rng, self.kernel, taken, self.hidden, dilation=dilation, rectified=True))
            seen, taken, dilation = seen + (self.kernel - 1) * dilation, self.hidden, dilation * 2
        return (*found, layer(rng, 1, taken, shape.channels))


def _unscaled(layers: tuple[Layer, ...], centre: Floats, scale: Floats) -> tuple[Layer, ...]:
    """The same layers for vectors that are neither centred nor scaled."""
    first, last = layers[0], layers[-1]
    weights = first.weights / scale[:, None]
    bias = first.bias - (centre[:, None] * weights[0]).sum(axis=0)
    begin = _like(first, weights, bias)
    return (begin, *layers[1:-1], _like(last, last.weights * scale, last.bias * scale + centre))


def _like(like: Layer, weights: Floats, bias: Floats) -> Layer:
    return Layer(
        weights.astype(np.float32), bias.astype(np.float32), like.stride, like.dilation, like.same, like.rectified
    )
