"""Layers of small networks over time, forward and backward, with numpy alone.

Everything is a convolution over rows [n, rows, in] -> [n, rows', out]; with a kernel of one row it is a dense layer
applied to each row. `same` pads with zeros as TFLite's SAME does, otherwise rows that lack neighbours are left out.
`unfold` then lays each row's channels out as so many rows, which undoes a stride: what a transposed convolution whose
kernel is its stride computes, without its operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cloud_trainer.series import Vectors

Array = npt.NDArray[Any]  # float32 in training, float64 where a runtime is held to it


@dataclass(frozen=True)
class Layer:
    """One convolution: weights [kernel, in, out], bias [out]."""

    weights: Vectors
    bias: Vectors
    stride: int = 1
    dilation: int = 1
    same: bool = False
    rectified: bool = False
    unfold: int = 1

    @property
    def span(self) -> int:
        """Rows that one row of the output looks at."""
        return (len(self.weights) - 1) * self.dilation + 1

    def rows(self, rows: int) -> int:
        """Rows of the output, before they are laid out."""
        return -(-rows // self.stride) if self.same else (rows - self.span) // self.stride + 1

    def padding(self, rows: int) -> tuple[int, int]:
        """Rows of zeros before and behind (tensorflow/core/framework/kernel_shape_util.cc)."""
        missing = max((self.rows(rows) - 1) * self.stride + self.span - rows, 0) if self.same else 0
        return missing // 2, missing - missing // 2

    def columns(self, x: Array) -> Array:
        """What each row of the output looks at: [n, rows', kernel * in]."""
        rows = x.shape[1]
        padded = np.pad(x, ((0, 0), self.padding(rows), (0, 0))) if self.same else x
        at = np.arange(self.rows(rows))[:, None] * self.stride + np.arange(len(self.weights)) * self.dilation
        return np.asarray(padded[:, at].reshape(len(x), len(at), -1))

    def forward(self, x: Array) -> Array:
        """The output of rows [n, rows, in], in their precision."""
        return self.activate(self.columns(x))

    def activate(self, columns: Array) -> Array:
        """The output of columns."""
        y = columns @ self.weights.reshape(-1, self.weights.shape[2]).astype(columns.dtype) + self.bias
        if self.rectified:
            y = np.maximum(y, 0)
        return np.asarray(y.reshape(len(y), -1, y.shape[2] // self.unfold))

    def backward(self, rows: int, columns: Array, y: Array, slope: Array) -> tuple[Array, Array, Array]:
        """Slopes of the input, the weights and the bias, from those of the output `y` of `columns`."""
        if self.rectified:
            slope = slope * (y > 0)
        slope = slope.reshape(len(slope), columns.shape[1], -1)
        flat = slope.reshape(-1, slope.shape[2])
        of_weights = columns.reshape(len(flat), -1).T @ flat
        back = (slope @ self.weights.reshape(-1, slope.shape[2]).T).reshape(*columns.shape[:2], len(self.weights), -1)
        before, behind = self.padding(rows)
        of_input = np.zeros((len(slope), rows + before + behind, self.weights.shape[1]), slope.dtype)
        for tap in range(len(self.weights)):
            at = np.arange(columns.shape[1]) * self.stride + tap * self.dilation
            of_input[:, at] += back[:, :, tap]
        return of_input[:, before : before + rows], of_weights.reshape(self.weights.shape), flat.sum(axis=0)


def layer(rng: np.random.Generator, kernel: int, taken: int, given: int, **more: Any) -> Layer:
    """A layer with random weights (LeCun et al., Efficient BackProp, 1998)."""
    weights = rng.normal(0, np.sqrt(1 / (kernel * taken)), (kernel, taken, given))
    return Layer(weights.astype(np.float32), np.zeros(given, np.float32), **more)


def run(layers: Sequence[Layer], x: Array) -> Array:
    """The output of all layers."""
    for each in layers:
        x = each.forward(x)
    return x


def slopes(layers: Sequence[Layer], x: Array, wanted: Array) -> tuple[float, list[Array]]:
    """Mean squared error over all values, and its slope for weights and bias of each layer in turn."""
    seen: list[tuple[int, Array, Array]] = []
    for each in layers:
        columns = each.columns(x)
        rows, x = x.shape[1], each.activate(columns)
        seen.append((rows, columns, x))
    off = x - wanted
    slope = off * np.asarray(2 / off.size, off.dtype)
    found: list[Array] = []
    for each, (rows, columns, y) in zip(reversed(layers), reversed(seen), strict=True):
        slope, of_weights, of_bias = each.backward(rows, columns, y, slope)
        found[:0] = [of_weights, of_bias]
    return float(np.mean(off * off)), found


def with_parts(layers: Sequence[Layer], parts: Sequence[Array]) -> tuple[Layer, ...]:
    """The same layers with other weights and biases."""
    return tuple(
        replace(each, weights=weights.astype(np.float32), bias=bias.astype(np.float32))
        for each, weights, bias in zip(layers, parts[::2], parts[1::2], strict=True)
    )


def work(layers: Sequence[Layer], rows: int) -> int:
    """Multiplications for one window of `rows` rows."""
    total = 0
    for each in layers:
        rows = each.rows(rows)
        total += rows * each.weights.size
        rows *= each.unfold
    return total
