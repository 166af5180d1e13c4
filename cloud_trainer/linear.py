"""Hotelling's T-squared as one matrix: the arithmetic of the model, without its training.

T² = (x - m)ᵀ S⁻¹ (x - m) (Hotelling 1931). It is divided among the features by the symmetric whitening of the
correlation matrix: y = P^(-1/2) V^(-1/2) (x - m) has T² = Σ y², and each y keeps the highest possible correlation
with its own feature (Garthwaite et al., Statistica Sinica 22, 2012; "ZCA-cor" in Kessy, Lewin, Strimmer, The
American Statistician 72, 2018). The score is the root of T² per feature: about 1 on what the model was fitted to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloud_trainer.series import Floats, Vectors


@dataclass(frozen=True)
class Linear:
    """c = (weights @ x + bias)², score = sqrt(sum(c)); float32, weights [F, F] and bias [F]."""

    weights: Vectors
    bias: Vectors

    def score(self, rows: Vectors | Floats) -> tuple[Floats, Floats]:
        """Scores [n] and contributions [n, F] of vectors [n, F], in float64: what a runtime is held to."""
        whitened = product(rows.astype(np.float64), self.weights.T.astype(np.float64)) + self.bias
        parts = whitened * whitened
        return np.sqrt(parts.sum(axis=1)), parts


def whitening(mean: Floats, covariance: Floats) -> Linear:
    """The model of this mean [F] and positive definite covariance [F, F]."""
    deviation = np.sqrt(np.diag(covariance))
    values, directions = np.linalg.eigh(covariance / np.outer(deviation, deviation))
    root = product(directions / np.sqrt(values), directions.T)
    weights = root / deviation / np.sqrt(len(mean))
    return Linear(weights.astype(np.float32), -(weights * mean).sum(axis=1).astype(np.float32))


def product(a: Floats, b: Floats) -> Floats:
    """Matrix product in an order of sums that does not depend on the number of threads, as BLAS's may."""
    return np.asarray(np.einsum("ij,jk->ik", a, b, optimize=False))
