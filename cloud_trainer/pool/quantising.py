"""Full-integer networks: what the layers compute in int8, by post-training quantisation.

Scheme of TFLite's 8-bit specification (tensorflow/lite: "TensorFlow Lite 8-bit quantization specification"; Jacob et
al., CVPR 2018): activations are asymmetric, with the range that they had on training windows; weights are symmetric in
-127 … 127, with a scale for each output of a convolution and one for a dense layer, as tflite-runtime 2.14 has no
others; biases are int32 in the product of both scales. Features come in and scores go out as float32, so that nobody
has to know of it: QUANTIZE and DEQUANTIZE are in the graph, and the residual and its head stay in float32.
`Integers.forward` is what the kernels compute, to the bit on x86-64, so that int8 models are held to the same tolerance
as others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud_trainer.graph import Quantised
from cloud_trainer.pool.layers import Array, Layer

_LOW, _HIGH = -128, 127
_LEAST_RANGE = 1e-6


@dataclass(frozen=True)
class IntegerLayer:
    """A layer's constants as stored, and how what it gives is stored."""

    weights: npt.NDArray[np.int8]  # [out, kernel, in]
    of_weights: Quantised
    bias: npt.NDArray[np.int32]
    of_bias: Quantised
    given: Quantised
    factors: npt.NDArray[np.float64]  # [out] of sums of products, to be stored as given

    def forward(self, like: Layer, x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What the kernels give of stored values [n, rows, in], to the bit: both less their zeros."""
        columns = like.columns(x)  # padded with zeros, as `x` is less its zero
        matrix = self.weights.astype(np.float64).reshape(len(self.weights), -1).T
        sums = (columns.astype(np.float64) @ matrix).astype(np.int64) + self.bias  # float64 holds such sums exactly
        low = 0 if like.rectified else _LOW - self.given.zeros[0]
        y = np.clip(_scaled(sums, self.factors), low, _HIGH - self.given.zeros[0])
        return np.asarray(y.reshape(len(y), -1, y.shape[2] // like.unfold))


@dataclass(frozen=True)
class Integers:
    """A network in int8: how what it takes is stored, and its layers."""

    taken: Quantised
    layers: tuple[IntegerLayer, ...]

    def forward(self, like: Sequence[Layer], x: Array) -> Array:
        """What the network gives of float rows [n, rows, in], as the kernels compute it."""
        stored = _store(x, self.taken)
        for each, layer in zip(self.layers, like, strict=True):
            stored = each.forward(layer, stored)
        return stored * np.float64(self.layers[-1].given.scales[0])


def _store(x: Array, how: Quantised) -> npt.NDArray[np.int64]:
    """Stored values less their zero; rounded half away from zero (tensorflow/lite/kernels/internal/cppmath.h)."""
    shares = x.astype(np.float32) / np.float32(how.scales[0])
    rounded = np.sign(shares) * np.floor(np.abs(shares) + np.float32(0.5))
    return np.asarray(np.clip(rounded, _LOW - how.zeros[0], _HIGH - how.zeros[0]), dtype=np.int64)


def _scaled(sums: npt.NDArray[np.int64], factors: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Sums times factors in fixed point with 31 bits, rounded half up twice as the kernels do (measured)."""
    shares, exponents = np.frexp(factors)
    exponents = exponents.astype(np.int64)
    multipliers = np.round(shares * (1 << 31)).astype(np.int64)
    is_one = multipliers == 1 << 31
    multipliers, exponents = np.where(is_one, 1 << 30, multipliers), exponents + is_one
    high = ((sums << np.maximum(exponents, 0)) * multipliers + (1 << 30)) >> 31
    shifts = np.maximum(-exponents, 0)
    return np.asarray((high + ((np.int64(1) << shifts) >> 1)) >> shifts)


def quantise(layers: Sequence[Layer], x: Array) -> Integers:
    """The layers in int8, calibrated on what they take [n, rows, in] of training windows."""
    taken = _range(x)
    found, before, x = [], taken, x.astype(np.float32)
    for each in layers:
        x = each.forward(x)
        given = _range(x)
        found.append(_layer(each, before, given))
        before = given
    return Integers(taken, tuple(found))


def _range(values: Array) -> Quantised:
    """Scale and zero so that the values fit, and zero itself is stored exactly."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = float(np.float32(max(high - low, _LEAST_RANGE) / (_HIGH - _LOW)))
    return Quantised((scale,), (round(np.clip(_LOW - low / scale, _LOW, _HIGH)),))


def _layer(each: Layer, before: Quantised, given: Quantised) -> IntegerLayer:
    weights = each.weights.transpose(2, 0, 1).astype(np.float64)
    is_dense = weights.shape[1] == 1
    widest = np.abs(weights).max() if is_dense else np.abs(weights).max(axis=(1, 2))
    scales = np.broadcast_to(np.maximum(widest, _LEAST_RANGE) / _HIGH, len(weights)).astype(np.float32)
    stored = np.clip(np.round(weights / scales[:, None, None]), -_HIGH, _HIGH).astype(np.int8)
    of_bias = scales * np.float32(before.scales[0])  # in float32, as the dense kernel has it
    bias = np.round(each.bias / of_bias).astype("<i4")
    count = 1 if is_dense else len(weights)
    zeros = (0,) * count
    return IntegerLayer(
        stored,
        Quantised(tuple(scales[:count].tolist()), zeros),
        bias,
        Quantised(tuple(of_bias[:count].tolist()), zeros),
        given,
        (of_bias.astype(np.float64) if is_dense else scales.astype(np.float64) * before.scales[0]) / given.scales[0],
    )
