"""Writes a linear model as .tflite with numpy and the flatbuffer schema alone.

```
features [1,F] -> FULLY_CONNECTED(weights, bias) -> MUL with itself = contributions [1,F]
               -> SUM over the features -> SQRT = score [1]
```
The same numbers give the same bytes (graph.py).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from cloud_trainer.graph import Graph
from headwater.contract.errors import BadInput
from headwater.transport.tflite import CONTRIBUTIONS, INPUT, SCORE

Floats = npt.NDArray[np.float32]


def export(weights: Floats, bias: Floats) -> bytes:
    """Bytes of the model `c = (weights @ x + bias)²`, `score = sqrt(sum(c))`; weights [F, F], bias [F].

    NaN and infinities are written as they are: a spoilt model for a test is made so. BadInput for other shapes.
    """
    features = len(bias)
    if weights.shape != (features, features) or not features:
        raise BadInput(f"weights of shape {weights.shape} and {features} biases do not make a model")
    graph = Graph(f"Hotelling's T-squared of {features} features")
    source = graph.tensor(INPUT, (1, features))
    return graph.finish(source, head(graph, source, weights, bias))


def head(graph: Graph, source: int, weights: Floats, bias: Floats) -> dict[str, int]:
    """Add the linear model to a graph behind the tensor `source` [1, F]; its outputs by name."""
    features = len(bias)
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
    return {SCORE: score, CONTRIBUTIONS: parts}
