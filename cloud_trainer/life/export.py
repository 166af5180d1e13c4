"""Writes a network for remaining life as .tflite, with the inputs and outputs of every model.

```
features [1,F] -> FULLY_CONNECTED with RELU, layer by layer -> FULLY_CONNECTED = most - remaining
               -> MAXIMUM with 0 -> MINIMUM with `most` = spent [1,1]
               -> SUM over its one number = score [1]
                  FULLY_CONNECTED with weights of zero = contributions [1,channels]
```
Nothing is said of which channel a life is spent by: the contributions are zero.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cloud_trainer.graph import Graph
from cloud_trainer.life.histories import Vectors
from cloud_trainer.life.network import Network
from headwater.transport.tflite import CONTRIBUTIONS, INPUT, SCORE

_OPERATOR, _OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions


def export(network: Network, channels: int) -> bytes:
    """Bytes of the network, in float32, for readings of so many channels."""
    graph = Graph(f"remaining life from {len(network.weights[0])} features")
    source = at = graph.tensor(INPUT, (1, len(network.weights[0])))
    weights, biases = [*network.weights], [*network.biases]
    weights[-1] = (-network.most * weights[-1].astype(np.float64)).astype(np.float32)
    biases[-1] = (network.most * (1 - biases[-1].astype(np.float64))).astype(np.float32)
    last = len(weights) - 1
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        at = _layer(graph, at, weight, bias, f"{number}", is_rectified=number < last)
    spent = _cut(graph, at, network.most)
    score = graph.tensor(SCORE, (1,))
    axis = graph.tensor("axis", (1,), np.array([1], "<i4"))
    graph.operation(_OPERATOR.SUM, _OPTIONS.ReducerOptions, schema.ReducerOptionsT(), [spent, axis], score)
    nothing = np.zeros((1, channels), np.float32)
    parts = _layer(graph, spent, nothing, nothing[0], "none", is_rectified=False, name=CONTRIBUTIONS)
    return graph.finish(source, {SCORE: score, CONTRIBUTIONS: parts})


def _layer(
    graph: Graph, at: int, weight: Vectors, bias: Vectors, number: str, *, is_rectified: bool, name: str = ""
) -> int:
    matrix = graph.tensor(f"weights{number}", weight.shape[::-1], weight.T)
    offset = graph.tensor(f"bias{number}", bias.shape, bias)
    layer = schema.FullyConnectedOptionsT()
    if is_rectified:
        layer.fusedActivationFunction = schema.ActivationFunctionType.RELU
    behind = graph.tensor(name or f"layer{number}", (1, len(bias)))
    graph.operation(_OPERATOR.FULLY_CONNECTED, _OPTIONS.FullyConnectedOptions, layer, [at, matrix, offset], behind)
    return behind


def _cut(graph: Graph, at: int, most: float) -> int:
    """To 0 … most."""
    for code, name, bound in ((_OPERATOR.MAXIMUM, "zero", 0.0), (_OPERATOR.MINIMUM, "most", most)):
        limit = graph.tensor(name, (1, 1), np.array([[bound]], "<f4"))
        behind = graph.tensor(f"cut{name}", (1, 1))
        graph.operation(code, _OPTIONS.MaximumMinimumOptions, schema.MaximumMinimumOptionsT(), [at, limit], behind)
        at = behind
    return at
