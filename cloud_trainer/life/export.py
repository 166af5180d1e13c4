"""Writes a network for remaining life as .tflite.

```
features [1,F] -> FULLY_CONNECTED with RELU, layer by layer -> FULLY_CONNECTED -> MUL by `most`
               -> MAXIMUM with 0 -> MINIMUM with `most` = remaining [1,1]
```
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cloud_trainer.graph import Graph
from cloud_trainer.life.network import Network
from headwater.transport.tflite import INPUT, REMAINING


def export(network: Network) -> bytes:
    """Bytes of the network, in float32."""
    operator, options = schema.BuiltinOperator, schema.BuiltinOptions
    graph = Graph(f"remaining life from {len(network.weights[0])} features")
    source = at = graph.tensor(INPUT, (1, len(network.weights[0])))
    last = len(network.weights) - 1
    for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        matrix = graph.tensor(f"weights{number}", weight.shape[::-1], weight.T)
        offset = graph.tensor(f"bias{number}", bias.shape, bias)
        layer = schema.FullyConnectedOptionsT()
        if number < last:
            layer.fusedActivationFunction = schema.ActivationFunctionType.RELU
        behind = graph.tensor(f"layer{number}", (1, len(bias)))
        graph.operation(operator.FULLY_CONNECTED, options.FullyConnectedOptions, layer, [at, matrix, offset], behind)
        at = behind
    most = graph.tensor("most", (1, 1), np.array([[network.most]], "<f4"))
    zero = graph.tensor("zero", (1, 1), np.zeros((1, 1), "<f4"))
    cycles, floor, remaining = (graph.tensor(name, (1, 1)) for name in ("cycles", "floor", REMAINING))
    graph.operation(operator.MUL, options.MulOptions, schema.MulOptionsT(), [at, most], cycles)
    for code, bound, before, behind in (
        (operator.MAXIMUM, zero, cycles, floor),
        (operator.MINIMUM, most, floor, remaining),
    ):
        graph.operation(code, options.MaximumMinimumOptions, schema.MaximumMinimumOptionsT(), [before, bound], behind)
    return graph.finish(source, {REMAINING: remaining})
