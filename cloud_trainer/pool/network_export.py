"""Writes a network with its head as .tflite (networks.py has the arithmetic).

```
features [1,F] -> RESHAPE -> (SLICE) -> CONV_2D or FULLY_CONNECTED, layer by layer (RESHAPE where a layer unfolds)
               -> SUB from the readings = residual [1,T,C] -> MEAN, and of it and of the readings
                  SUB of the first row, MEAN, SQUARED_DIFFERENCE, MEAN, SQRT, ADD, LOG
               -> CONCATENATION -> RESHAPE = parts [1,P] -> the head of export.py
```
A transposed convolution is never written: tflite-runtime 2.14 refuses some, and `unfold` does the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cloud_trainer.export import head
from cloud_trainer.graph import Graph, Quantised
from cloud_trainer.linear import Linear
from cloud_trainer.pool.layers import Layer
from cloud_trainer.pool.quantising import IntegerLayer, Integers
from headwater.contract.features import LOG_FLOOR
from headwater.transport.tflite import INPUT

if TYPE_CHECKING:
    from cloud_trainer.pool.networks import Shape

_OPERATOR, _OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions


def export(
    name: str, shape: Shape, layers: tuple[Layer, ...], linear: Linear, integers: Integers | None = None
) -> bytes:
    """Bytes of the network, its layers in float32, or in int8 where `integers` are given (quantising.py)."""
    writer = _Writer(Graph(f"{name} of {shape.features} features, its residual by T-squared"), shape, integers)
    given = writer.layers(layers)
    parts = writer.parts(given)
    return writer.graph.finish(writer.source, head(writer.graph, parts, linear.weights, linear.bias))


class _Writer:
    """A graph under construction; what each method returns is the number of a tensor."""

    def __init__(self, graph: Graph, shape: Shape, integers: Integers | None) -> None:
        self.graph, self.shape, self.integers = graph, shape, integers
        self.source = graph.tensor(INPUT, (1, shape.features))
        self._made = 0

    def layers(self, layers: tuple[Layer, ...]) -> int:
        """The network without its head."""
        shape = self.shape
        if shape.is_flat:
            at = self._quantised(self.source, (1, shape.features))
            for number, each in enumerate(layers):
                at = self._dense(at, each, self._stored(number))
            return self._restored(at, (1, shape.features))
        rows, at = shape.window, self._reshaped(self.source, (1, 1, shape.window, shape.channels))
        self.readings = at
        if shape.is_ahead:
            rows -= 1
            at = self._sliced(at, 0, rows)
        at = self._quantised(at, (1, 1, rows, shape.channels))
        for number, each in enumerate(layers):
            at, rows = self._convolved(at, each, rows, self._stored(number))
        self._given = rows
        return self._restored(at, (1, 1, rows, shape.channels))

    def _stored(self, number: int) -> IntegerLayer | None:
        return None if self.integers is None else self.integers.layers[number]

    def _quantised(self, x: int, size: tuple[int, ...]) -> int:
        if self.integers is None:
            return x
        return self._plain(
            _OPERATOR.QUANTIZE, _OPTIONS.QuantizeOptions, schema.QuantizeOptionsT(), [x], size, self.integers.taken
        )

    def _restored(self, x: int, size: tuple[int, ...]) -> int:
        if self.integers is None:
            return x
        options = schema.DequantizeOptionsT()
        return self._plain(_OPERATOR.DEQUANTIZE, _OPTIONS.DequantizeOptions, options, [x], size, version=2)

    def parts(self, given: int) -> int:
        """What the head takes."""
        shape = self.shape
        if shape.is_flat:
            off = self._plain(_OPERATOR.SUB, _OPTIONS.SubOptions, schema.SubOptionsT(), [self.source, given], (1, -1))
            if shape.layout == "summary":
                return off
            off = self._reshaped(off, (1, 1, shape.window, shape.channels))
            self.readings = self._reshaped(self.source, (1, 1, shape.window, shape.channels))
            self._given = shape.window
        else:
            rows = self._given
            wanted = self.readings if rows == shape.window else self._sliced(self.readings, shape.window - rows, rows)
            size = (1, 1, rows, shape.channels)
            off = self._plain(_OPERATOR.SUB, _OPTIONS.SubOptions, schema.SubOptionsT(), [wanted, given], size)
        mean, spread = self._mean(off), self._spread(off, self._given)
        level = self._spread(self.readings, shape.window)
        options = schema.ConcatenationOptionsT()
        options.axis = 3
        joined = self._plain(
            _OPERATOR.CONCATENATION, _OPTIONS.ConcatenationOptions, options, [mean, spread, level],
            (1, 1, 1, 3 * shape.channels),
        )  # fmt: skip
        return self._reshaped(joined, (1, 3 * shape.channels))

    def _spread(self, x: int, rows: int) -> int:
        """Log spread over the rows: [1, 1, 1, channels].

        The first row is taken off before, so that what stands still has no spread at all: the rounding of its mean in
        float32 is small, but not beside the floor under the logarithm.
        """
        channels = self.shape.channels
        whole = (1, 1, rows, channels)
        x = self._plain(_OPERATOR.SUB, _OPTIONS.SubOptions, schema.SubOptionsT(), [x, self._sliced(x, 0, 1)], whole)
        apart = self._plain(
            _OPERATOR.SQUARED_DIFFERENCE, _OPTIONS.SquaredDifferenceOptions, schema.SquaredDifferenceOptionsT(),
            [x, self._mean(x)], whole,
        )  # fmt: skip
        size = (1, 1, 1, channels)
        spread = self._plain(_OPERATOR.SQRT, _OPTIONS.NONE, None, [self._mean(apart)], size)
        floor = self._constant(np.full(size, LOG_FLOOR, "<f4"))
        above = self._plain(_OPERATOR.ADD, _OPTIONS.AddOptions, schema.AddOptionsT(), [spread, floor], size)
        return self._plain(_OPERATOR.LOG, _OPTIONS.NONE, None, [above], size)

    def _mean(self, x: int) -> int:
        options = schema.ReducerOptionsT()
        options.keepDims = True
        axis = self._constant(np.array([2], "<i4"))
        return self._plain(_OPERATOR.MEAN, _OPTIONS.ReducerOptions, options, [x, axis], (1, 1, 1, self.shape.channels))

    def _dense(self, x: int, each: Layer, stored: IntegerLayer | None) -> int:
        options = schema.FullyConnectedOptionsT()
        options.fusedActivationFunction = _activation(each)
        size, kind = (1, len(each.bias)), _OPTIONS.FullyConnectedOptions
        if stored is None:
            inputs = [x, self._constant(each.weights[0].T), self._constant(each.bias)]
            return self._plain(_OPERATOR.FULLY_CONNECTED, kind, options, inputs, size)
        inputs = [
            x, self._constant(stored.weights[:, 0], stored.of_weights), self._constant(stored.bias, stored.of_bias)
        ]  # fmt: skip
        return self._plain(_OPERATOR.FULLY_CONNECTED, kind, options, inputs, size, stored.given, version=4)

    def _convolved(self, x: int, each: Layer, rows: int, stored: IntegerLayer | None) -> tuple[int, int]:
        options = schema.Conv2DOptionsT()
        options.padding = schema.Padding.SAME if each.same else schema.Padding.VALID
        options.strideH, options.strideW = 1, each.stride
        options.dilationHFactor, options.dilationWFactor = 1, each.dilation
        options.fusedActivationFunction = _activation(each)
        rows, width = each.rows(rows), len(each.bias)
        size, kind = (1, 1, rows, width), _OPTIONS.Conv2DOptions
        if stored is None:  # filters are [out, 1, kernel, in]
            inputs = [x, self._constant(each.weights.transpose(2, 0, 1)[:, None]), self._constant(each.bias)]
            y = self._plain(_OPERATOR.CONV_2D, kind, options, inputs, size)
        else:
            filters = self._constant(stored.weights[:, None], stored.of_weights)
            inputs = [x, filters, self._constant(stored.bias, stored.of_bias)]
            y = self._plain(_OPERATOR.CONV_2D, kind, options, inputs, size, stored.given, version=3)
        if each.unfold > 1:
            rows, width = rows * each.unfold, width // each.unfold
            y = self._reshaped(y, (1, 1, rows, width), None if stored is None else stored.given)
        return y, rows

    def _reshaped(self, x: int, size: tuple[int, ...], quantised: Quantised | None = None) -> int:
        options = schema.ReshapeOptionsT()
        options.newShape = list(size)
        inputs = [x, self._constant(np.array(size, "<i4"))]
        return self._plain(_OPERATOR.RESHAPE, _OPTIONS.ReshapeOptions, options, inputs, size, quantised)

    def _sliced(self, x: int, first: int, rows: int) -> int:
        size = (1, 1, rows, self.shape.channels)
        inputs = [x, self._constant(np.array((0, 0, first, 0), "<i4")), self._constant(np.array(size, "<i4"))]
        return self._plain(_OPERATOR.SLICE, _OPTIONS.SliceOptions, schema.SliceOptionsT(), inputs, size)

    def _constant(
        self, data: np.ndarray[tuple[int, ...], np.dtype[np.generic]], quantised: Quantised | None = None
    ) -> int:
        self._made += 1
        return self.graph.tensor(f"constant{self._made}", data.shape, data, quantised)

    def _plain(
        self,
        code: int,
        kind: int,
        options: object,
        inputs: list[int],
        size: tuple[int, ...],
        quantised: Quantised | None = None,
        version: int = 1,
    ) -> int:
        self._made += 1
        size = tuple(self.shape.features if side < 0 else side for side in size)
        y = self.graph.tensor(f"made{self._made}", size, quantised=quantised)
        self.graph.operation(code, kind, options, inputs, y, version)
        return y


def _activation(each: Layer) -> int:
    kinds = schema.ActivationFunctionType
    return int(kinds.RELU if each.rectified else kinds.NONE)
