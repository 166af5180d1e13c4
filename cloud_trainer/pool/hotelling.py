"""Linear detectors: Hotelling's T², and principal components with the residual beside them.

The covariance of both has a share of each variance added to its diagonal, and the drift that healthy machines show:
the difference between the first and the second half of an asset's windows, as an outer product over the assets,
extrapolated over `horizon` lengths of the range. So both are deaf in the directions in which healthy machines wander.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cloud_trainer.export import export
from cloud_trainer.linear import Linear, product, whitening
from cloud_trainer.pool.detector import Healthy, Layout, vectors
from cloud_trainer.series import Floats, Vectors

T2, PCA = "hotelling-t2", "pca-t2-q"
_LEAST_VARIANCE = 1e-6  # for features that never moved
_LEAST_HALF = 4  # windows in each half of a range before their difference is called drift
_LIMIT = 0.99  # quantile of the healthy rows that T² and Q are held against


@dataclass(frozen=True)
class LinearDetector:
    """A linear model of one layout."""

    linear: Linear
    layout: Layout = "summary"

    def score(self, rows: Vectors) -> tuple[Floats, Floats]:
        """Scores and contributions, as `Linear.score` has them."""
        return self.linear.score(rows)

    def levels(self, rows: Vectors) -> Floats:
        """See Detector."""
        return self.score(rows)[0]

    def export(self) -> bytes:
        """The .tflite."""
        return export(self.linear.weights, self.linear.bias)


@dataclass(frozen=True)
class Hotelling:
    """T² of means and spreads."""

    shrink: float
    horizon: float
    family: str = T2

    @property
    def settings(self) -> dict[str, float | int | str]:
        """See Member."""
        return {"shrink": self.shrink, "horizon": self.horizon}

    def seconds(self, windows: int, window: int, channels: int) -> float:
        """See Member."""
        return 0.02 + windows * (channels**2 * 8e-9 + window * channels * 1e-8)

    def fit(self, healthy: Healthy, seed: int) -> LinearDetector:  # noqa: ARG002  nothing here is drawn
        """See Member."""
        rows = {key: vectors("summary", windows) for key, windows in healthy.items()}
        return LinearDetector(whiten(rows, self.shrink, self.horizon))


@dataclass(frozen=True)
class Components:
    """Principal components: T² within those that carry `kept` of the variance, Q of the rest, as one index.

    φ = T²/τ² + Q/δ², each over its limit (Yue and Qin, Industrial & Engineering Chemistry Research 40, 2001).
    """

    kept: float
    layout: Layout
    shrink: float
    horizon: float
    family: str = PCA

    @property
    def settings(self) -> dict[str, float | int | str]:
        """See Member."""
        return {"kept": self.kept, "layout": self.layout}

    def seconds(self, windows: int, window: int, channels: int) -> float:
        """See Member."""
        width = channels * (2 if self.layout == "summary" else window)
        return 0.02 + windows * width**2 * 3e-9 + width**3 * 2e-8

    def fit(self, healthy: Healthy, seed: int) -> LinearDetector:  # noqa: ARG002  nothing here is drawn
        """See Member."""
        rows = {key: vectors(self.layout, windows) for key, windows in healthy.items()}
        mean, covariance = _moments(rows, self.shrink, self.horizon)
        deviation = np.sqrt(np.diag(covariance))
        values, directions = np.linalg.eigh(covariance / np.outer(deviation, deviation))
        carried = np.cumsum(values[::-1]) / values.sum()
        kept = directions[:, ::-1][:, : int(np.searchsorted(carried, self.kept)) + 1]
        inner = product(kept / np.sqrt(values[::-1][: kept.shape[1]]), kept.T)
        outer = np.eye(len(mean)) - product(kept, kept.T)
        scaled = (np.concatenate(list(rows.values())) - mean) / deviation
        root = sum(part / max(_limit(scaled, part), 1e-6) for part in (inner, outer))
        weights = root / deviation
        bias = -(weights * mean).sum(axis=1)
        return LinearDetector(Linear(weights.astype(np.float32), bias.astype(np.float32)), self.layout)


def _limit(rows: Floats, part: Floats) -> float:
    """The length of this part of a healthy row that one in a hundred exceeds."""
    return float(np.quantile(np.sqrt((product(rows, part) ** 2).sum(axis=1)), _LIMIT))


def whiten(rows: Mapping[str, Vectors], shrink: float, horizon: float) -> Linear:
    """T² of these vectors [n, F] by asset, each in the order of time."""
    return whitening(*_moments(rows, shrink, horizon))


def _moments(fitted: Mapping[str, Vectors], shrink: float, horizon: float) -> tuple[Floats, Floats]:
    rows = np.concatenate([part.astype(np.float64) for part in fitted.values()])
    mean = rows.mean(axis=0)
    centred = rows - mean
    covariance = product(centred.T, centred) / (len(rows) - 1)
    covariance += np.diag(np.diag(covariance) * shrink + _LEAST_VARIANCE)
    return mean, covariance + drift(fitted, horizon)


def drift(fitted: Mapping[str, Vectors], horizon: float) -> Floats:
    """Covariance of the drift to expect: half-to-half differences, carried on over `horizon` fitted ranges.

    The middles of the halves are half a range apart, so a steady drift covers 2 * `horizon` such differences.
    """
    width = next(iter(fitted.values())).shape[1]
    moved = [_moved(rows.astype(np.float64)) for rows in fitted.values() if len(rows) >= 2 * _LEAST_HALF]
    if not moved:
        return np.zeros((width, width))
    steps = np.array(moved) * (2 * horizon)
    return product(steps.T, steps) / len(steps)


def _moved(rows: Floats) -> Floats:
    half = len(rows) // 2
    return np.asarray(rows[half:].mean(axis=0) - rows[:half].mean(axis=0))
