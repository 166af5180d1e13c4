"""A mixture of Gaussians over means and spreads: machines that run in several ways, each with a T² of its own.

Fitted by expectation-maximisation (Dempster, Laird and Rubin 1977) from a seeded start (k-means++, Arthur and
Vassilvitskii 2007). Each covariance is drawn towards the mean of all by as many rows as there are features, and gets
the share of its diagonal and the drift that T² has (hotelling.py). The score is the root of the distances to the
components, each by the probability that the window belongs to it; contributions likewise.

```
features [1,F] -> FULLY_CONNECTED to all components -> MUL with itself -> RESHAPE [1,K,F] = parts of each
   SUM = distances -> MUL, ADD -> SOFTMAX = belonging
   MUL of both -> SUM over the components = contributions [1,F] -> SUM -> SQRT = score [1]
```
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from threadpoolctl import threadpool_limits

from cloud_trainer.graph import Graph
from cloud_trainer.linear import Linear, whitening
from cloud_trainer.pool.detector import Healthy, Layout, vectors
from cloud_trainer.pool.hotelling import drift
from cloud_trainer.series import Floats, Vectors
from headwater.transport.tflite import CONTRIBUTIONS, INPUT, SCORE

MIXTURE = "gaussian-mixture"
_TURNS = 40
_MOST_FITTED = 20_000  # windows
_LEAST_VARIANCE = 1e-6
_OPERATOR, _OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions


@dataclass(frozen=True)
class Mixture:
    """A T² for each component, and what is added to its distance before components are weighed [K]."""

    components: tuple[Linear, ...]
    offsets: Vectors
    layout: Layout = "summary"

    def score(self, rows: Vectors) -> tuple[Floats, Floats]:
        """See Detector."""
        parts = np.stack([each.score(rows)[1] for each in self.components], axis=1)
        weights = _softmax(parts.sum(axis=2) * (-0.5 * rows.shape[1]) - 0.5 * self.offsets.astype(np.float64))
        shared = (weights[:, :, None] * parts).sum(axis=1)
        return np.sqrt(shared.sum(axis=1)), shared

    def levels(self, rows: Vectors) -> Floats:
        """See Detector."""
        return self.score(rows)[0]

    def export(self) -> bytes:
        """The .tflite, in float32."""
        count, width = len(self.components), len(self.components[0].bias)
        graph = Graph(f"{MIXTURE} of {count} components and {width} features, each by T-squared")
        source = graph.tensor(INPUT, (1, width))
        weights = np.concatenate([each.weights for each in self.components])
        bias = np.concatenate([each.bias for each in self.components])
        flat, squares = (graph.tensor(name, (1, count * width)) for name in ("whitened", "squares"))
        inputs = [source, graph.tensor("weights", weights.shape, weights), graph.tensor("bias", bias.shape, bias)]
        options = schema.FullyConnectedOptionsT()
        graph.operation(_OPERATOR.FULLY_CONNECTED, _OPTIONS.FullyConnectedOptions, options, inputs, flat)
        graph.operation(_OPERATOR.MUL, _OPTIONS.MulOptions, schema.MulOptionsT(), [flat, flat], squares)
        parts = _reshaped(graph, squares, (1, count, width))
        belonging = _reshaped(graph, self._belonging(graph, parts), (1, count, 1))
        weighed = graph.tensor("weighed", (1, count, width))
        graph.operation(_OPERATOR.MUL, _OPTIONS.MulOptions, schema.MulOptionsT(), [parts, belonging], weighed)
        shared = _sum(graph, weighed, 1, (1, width), CONTRIBUTIONS)
        total, score = _sum(graph, shared, 1, (1,), "total"), graph.tensor(SCORE, (1,))
        graph.operation(_OPERATOR.SQRT, _OPTIONS.NONE, None, [total], score)
        return graph.finish(source, {SCORE: score, CONTRIBUTIONS: shared})

    def _belonging(self, graph: Graph, parts: int) -> int:
        count, width = len(self.components), len(self.components[0].bias)
        distances = _sum(graph, parts, 2, (1, count), "distances")
        half = graph.tensor("half", (1, 1), np.array([[-0.5 * width]], "<f4"))
        offsets = graph.tensor("offsets", (1, count), -0.5 * self.offsets[None])
        scaled, moved, weights = (graph.tensor(name, (1, count)) for name in ("scaled", "moved", "belonging"))
        graph.operation(_OPERATOR.MUL, _OPTIONS.MulOptions, schema.MulOptionsT(), [distances, half], scaled)
        graph.operation(_OPERATOR.ADD, _OPTIONS.AddOptions, schema.AddOptionsT(), [scaled, offsets], moved)
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        graph.operation(_OPERATOR.SOFTMAX, _OPTIONS.SoftmaxOptions, options, [moved], weights)
        return weights


def _reshaped(graph: Graph, x: int, size: tuple[int, ...]) -> int:
    name = "x".join(map(str, size))
    shape, y = graph.tensor(f"to {name}", (len(size),), np.array(size, "<i4")), graph.tensor(f"as {name}", size)
    graph.operation(_OPERATOR.RESHAPE, _OPTIONS.ReshapeOptions, schema.ReshapeOptionsT(), [x, shape], y)
    return y


def _sum(graph: Graph, x: int, axis: int, size: tuple[int, ...], name: str) -> int:
    over, y = graph.tensor(f"axis of {name}", (1,), np.array([axis], "<i4")), graph.tensor(name, size)
    graph.operation(_OPERATOR.SUM, _OPTIONS.ReducerOptions, schema.ReducerOptionsT(), [x, over], y)
    return y


@dataclass(frozen=True)
class MixtureMember:
    """A mixture of so many components."""

    components: int
    shrink: float
    horizon: float
    family: str = MIXTURE

    @property
    def settings(self) -> dict[str, float | int | str]:
        """See Member."""
        return {"components": self.components}

    def seconds(self, windows: int, window: int, channels: int) -> float:  # noqa: ARG002  means and spreads only
        """See Member."""
        return 0.05 + _TURNS * self.components * min(windows, _MOST_FITTED) * (2 * channels) ** 2 * 2e-9

    def fit(self, healthy: Healthy, seed: int) -> Mixture:
        """See Member."""
        rows = {key: vectors("summary", windows) for key, windows in healthy.items()}
        everything = np.concatenate(list(rows.values())).astype(np.float64)
        some = everything[:: -(-len(everything) // _MOST_FITTED)]
        centre, scale = some.mean(axis=0), some.std(axis=0) + 1e-6
        with threadpool_limits(1):  # the sums of a product depend on how many threads share it
            shares, means, covariances = _fitted((some - centre) / scale, self.components, self.shrink, seed)
        wandering = drift(rows, self.horizon)
        spread = [each * np.outer(scale, scale) + wandering for each in covariances]
        offsets = np.array([np.linalg.slogdet(each)[1] for each in spread]) - 2 * np.log(shares)
        found = [whitening(mean * scale + centre, each) for mean, each in zip(means, spread, strict=True)]
        return Mixture(tuple(found), (offsets - offsets.min()).astype(np.float32))


def _fitted(x: Floats, count: int, shrink: float, seed: int) -> tuple[Floats, Floats, Floats]:
    """Shares [K], means [K, F] and covariances [K, F, F] of rows [n, F]."""
    width = x.shape[1]
    shares, means = np.full(count, 1 / count), _start(x, count, np.random.default_rng(seed))
    covariances = np.repeat(np.cov(x.T).reshape(1, width, width) + np.eye(width) * shrink, count, axis=0)
    for _ in range(_TURNS):
        belonging = _softmax(_densities(x, shares, means, covariances))
        mass = belonging.sum(axis=0) + 1e-9
        means = belonging.T @ x / mass[:, None]
        apart = [(own[:, None], x - mean) for own, mean in zip(belonging.T, means, strict=True)]
        scatter = np.stack([(own * off).T @ off for own, off in apart])
        pooled = scatter.sum(axis=0) / len(x)
        covariances = (scatter + width * pooled) / (mass + width)[:, None, None]
        diagonal = np.einsum("kii->ki", covariances)
        diagonal += diagonal * shrink + _LEAST_VARIANCE
        shares = mass / mass.sum()
    return shares, means, covariances


def _densities(x: Floats, shares: Floats, means: Floats, covariances: Floats) -> Floats:
    """Logarithms of share times density [n, K], but for a constant."""
    found = []
    for share, mean, covariance in zip(shares, means, covariances, strict=True):
        off = np.linalg.solve(np.linalg.cholesky(covariance), (x - mean).T)
        found.append(np.log(share) - 0.5 * ((off * off).sum(axis=0) + np.linalg.slogdet(covariance)[1]))
    return np.stack(found, axis=1)


def _start(x: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Rows far from each other."""
    chosen = [x[rng.integers(len(x))]]
    while len(chosen) < count:
        near = np.min([((x - each) ** 2).sum(axis=1) for each in chosen], axis=0)
        chosen.append(x[rng.choice(len(x), p=near / near.sum())] if near.sum() > 0 else x[rng.integers(len(x))])
    return np.array(chosen)


def _softmax(x: Floats) -> Floats:
    shares = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
