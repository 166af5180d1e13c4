"""Models as other tools make them, that fail on tflite-runtime 2.14.0: refused, or worse."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cloud_trainer.graph import Graph, Quantised
from headwater.transport.tflite import CONTRIBUTIONS, INPUT, SCORE

WIDTH = 8
OPERATOR, OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions
WEIGHTS = np.random.default_rng(1).normal(0, 1, (WIDTH, WIDTH)) * np.geomspace(0.01, 10, WIDTH)[:, None]


def _squares(graph: Graph, x: int) -> dict[str, int]:
    parts, axis = graph.tensor(CONTRIBUTIONS, (1, WIDTH)), graph.tensor("axis", (1,), np.array([1], "<i4"))
    total, score = graph.tensor("total", (1,)), graph.tensor(SCORE, (1,))
    graph.operation(OPERATOR.MUL, OPTIONS.MulOptions, schema.MulOptionsT(), [x, x], parts)
    graph.operation(OPERATOR.SUM, OPTIONS.ReducerOptions, schema.ReducerOptionsT(), [parts, axis], total)
    graph.operation(OPERATOR.SQRT, OPTIONS.NONE, None, [total], score)
    return {SCORE: score, CONTRIBUTIONS: parts}


def dense(version: int = 1, *, is_dynamic: bool = False) -> bytes:
    """A dense layer; dynamic-range as newer converters write it: int8 weights with one scale a row, float32 around."""
    graph = Graph("T-squared")
    source = graph.tensor(INPUT, (1, WIDTH))
    if is_dynamic:
        scales = np.abs(WEIGHTS).max(axis=1) / 127
        stored = np.round(WEIGHTS / scales[:, None]).astype("i1")
        kept = Quantised(tuple(scales.tolist()), (0,) * WIDTH)
        weights = graph.tensor("weights", WEIGHTS.shape, stored, kept)
    else:
        weights = graph.tensor("weights", WEIGHTS.shape, WEIGHTS)
    bias = graph.tensor("bias", (WIDTH,), np.zeros(WIDTH, "<f4"))
    y = graph.tensor("y", (1, WIDTH))
    options = schema.FullyConnectedOptionsT()
    options.asymmetricQuantizeInputs = is_dynamic
    graph.operation(
        OPERATOR.FULLY_CONNECTED, OPTIONS.FullyConnectedOptions, options, [source, weights, bias], y, version
    )
    return graph.finish(source, _squares(graph, y))


def transposed() -> bytes:
    """A transposed convolution with int8 weights in float32 surroundings."""
    graph = Graph("T-squared")
    source = graph.tensor(INPUT, (1, WIDTH))
    half = graph.tensor("half", (1, 1, WIDTH // 2, 2))
    shape = graph.tensor("shape", (4,), np.array((1, 1, WIDTH // 2, 2), "<i4"))
    graph.operation(OPERATOR.RESHAPE, OPTIONS.ReshapeOptions, schema.ReshapeOptionsT(), [source, shape], half)
    stored = np.ones((1, 1, 2, 2), "i1")
    filters = graph.tensor("filters", (1, 1, 2, 2), stored, Quantised((0.1,), (0,)))
    size = graph.tensor("size", (4,), np.array((1, 1, WIDTH, 1), "<i4"))
    up = graph.tensor("up", (1, 1, WIDTH, 1))
    options = schema.TransposeConvOptionsT()
    options.strideH, options.strideW, options.padding = 1, 2, schema.Padding.SAME
    graph.operation(OPERATOR.TRANSPOSE_CONV, OPTIONS.TransposeConvOptions, options, [size, filters, half], up)
    y, flat = graph.tensor("y", (1, WIDTH)), graph.tensor("flat", (2,), np.array((1, WIDTH), "<i4"))
    graph.operation(OPERATOR.RESHAPE, OPTIONS.ReshapeOptions, schema.ReshapeOptionsT(), [up, flat], y)
    return graph.finish(source, _squares(graph, y))


def wanted(rows: np.ndarray) -> np.ndarray:
    """The scores that the dense layer should give."""
    return np.sqrt(((rows.astype(np.float64) @ WEIGHTS.T) ** 2).sum(axis=1))
