"""A .tflite file under construction, by the flatbuffer schema alone: tensors, operators, one signature.

The same numbers give the same bytes. Versions of operators are the lowest that the kinds of their tensors need, so that
tflite-runtime 2.14 has them as well (tensorflow/lite/tools/versioning/op_version.cc): 1 in float32. Needs little-endian
byte order, as the format does.
"""

from __future__ import annotations

from typing import NamedTuple

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from headwater.transport.tflite import INPUT, MAGIC


class Quantised(NamedTuple):
    """value = scale * (stored - zero): one scale and zero, or one for each index along `axis`."""

    scales: tuple[float, ...]
    zeros: tuple[int, ...]
    axis: int = 0


class Graph:
    """A model of one subgraph."""

    def __init__(self, description: str) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = description
        self._model.buffers = [schema.BufferT()]  # the first buffer is empty by the schema
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors, self._graph.operators = [], []

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        data: npt.NDArray[np.generic] | None = None,
        quantised: Quantised | None = None,
    ) -> int:
        """Add a tensor, a constant where it has `data`; its number.

        Constants of int32 and int8 stay what they are, others become float32; what is computed is int8 if `quantised`.
        """
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = schema.TensorType.FLOAT32 if quantised is None else schema.TensorType.INT8
        if quantised is not None:
            tensor.quantization = _quantisation(quantised)
        if data is not None:
            if data.dtype == np.dtype("<i4"):
                tensor.type = schema.TensorType.INT32
            elif data.dtype == np.dtype("i1"):
                tensor.type = schema.TensorType.INT8
            else:
                data = data.astype("<f4")
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def operation(
        self, code: int, kind: int, options: object, inputs: list[int], output: int, version: int = 1
    ) -> None:
        """Add an operator between tensors; `kind` is the type of its options."""
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = version
        self._model.operatorCodes.append(entry)
        operation = schema.OperatorT()
        operation.opcodeIndex = len(self._model.operatorCodes) - 1
        operation.inputs, operation.outputs = inputs, [output]
        operation.builtinOptionsType, operation.builtinOptions = kind, options
        self._graph.operators.append(operation)

    def finish(self, source: int, outputs: dict[str, int]) -> bytes:
        """The file; outputs by name."""
        self._graph.inputs, self._graph.outputs = [source], list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs = [_named(INPUT, source)]
        signature.outputs = [_named(name, index) for name, index in outputs.items()]
        self._model.subgraphs, self._model.signatureDefs = [self._graph], [signature]
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(self._model.Pack(builder), MAGIC)
        return bytes(builder.Output())


def _quantisation(given: Quantised) -> schema.QuantizationParametersT:
    found = schema.QuantizationParametersT()
    found.scale, found.zeroPoint = list(given.scales), list(given.zeros)
    found.quantizedDimension = given.axis
    return found


def _named(name: str, index: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
