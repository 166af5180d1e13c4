"""Writes a linear model as .tflite with numpy and the flatbuffer schema alone.

```
features [1,F] -> FULLY_CONNECTED(weights, bias) -> MUL with itself = contributions [1,F]
               -> SUM over the features -> SQRT = score [1]
```
Every operator is of version 1, which tflite-runtime 2.14 has as well (tensorflow/lite/tools/versioning/op_version.cc).
The same numbers give the same bytes. Needs little-endian byte order, as the format does.
"""

from __future__ import annotations

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from headwater.contract.errors import BadInput
from headwater.transport.tflite import CONTRIBUTIONS, INPUT, MAGIC, SCORE

Floats = npt.NDArray[np.float32]


def export(weights: Floats, bias: Floats) -> bytes:
    """Bytes of the model `c = (weights @ x + bias)²`, `score = sqrt(sum(c))`; weights [F, F], bias [F].

    NaN and infinities are written as they are: a spoilt model for a test is made so. BadInput for other shapes.
    """
    features = len(bias)
    if weights.shape != (features, features) or not features:
        raise BadInput(f"weights of shape {weights.shape} and {features} biases do not make a model")
    graph = _Graph(features)
    source = graph.tensor(INPUT, (1, features))
    matrix = graph.tensor("weights", weights.shape, weights)
    offset = graph.tensor("bias", bias.shape, bias)
    axis = graph.tensor("axis", (1,), np.array([1], "<i4"))
    whitened = graph.tensor("whitened", (1, features))
    parts = graph.tensor(CONTRIBUTIONS, (1, features))
    total = graph.tensor("total", (1,))
    score = graph.tensor(SCORE, (1,))
    operator, options = schema.BuiltinOperator, schema.BuiltinOptions
    graph.operation(
        operator.FULLY_CONNECTED,
        options.FullyConnectedOptions,
        schema.FullyConnectedOptionsT(),
        [source, matrix, offset],
        whitened,
    )
    graph.operation(operator.MUL, options.MulOptions, schema.MulOptionsT(), [whitened, whitened], parts)
    graph.operation(operator.SUM, options.ReducerOptions, schema.ReducerOptionsT(), [parts, axis], total)
    graph.operation(operator.SQRT, options.NONE, None, [total], score)
    return graph.finish(source, {SCORE: score, CONTRIBUTIONS: parts})


class _Graph:
    """A model of one subgraph under construction."""

    def __init__(self, features: int) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = f"Hotelling's T-squared of {features} features"
        self._model.buffers = [schema.BufferT()]  # the first buffer is empty by the schema
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors, self._graph.operators = [], []

    def tensor(self, name: str, shape: tuple[int, ...], data: npt.NDArray[np.generic] | None = None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), 0
        tensor.type = schema.TensorType.FLOAT32
        if data is not None:
            if data.dtype == np.dtype("<i4"):
                tensor.type = schema.TensorType.INT32
            else:
                data = data.astype("<f4")
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self._model.buffers.append(buffer)
            tensor.buffer = len(self._model.buffers) - 1
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def operation(self, code: int, kind: int, options: object, inputs: list[int], output: int) -> None:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        self._model.operatorCodes.append(entry)
        operation = schema.OperatorT()
        operation.opcodeIndex = len(self._model.operatorCodes) - 1
        operation.inputs, operation.outputs = inputs, [output]
        operation.builtinOptionsType, operation.builtinOptions = kind, options
        self._graph.operators.append(operation)

    def finish(self, source: int, outputs: dict[str, int]) -> bytes:
        self._graph.inputs, self._graph.outputs = [source], list(outputs.values())
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs = [_named(INPUT, source)]
        signature.outputs = [_named(name, index) for name, index in outputs.items()]
        self._model.subgraphs, self._model.signatureDefs = [self._graph], [signature]
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(self._model.Pack(builder), MAGIC)
        return bytes(builder.Output())


def _named(name: str, index: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, index
    return entry
