"""The gate between training and the edge's runtime."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from cloud_trainer import parity
from cloud_trainer.export import export
from cloud_trainer.linear import whitening
from cloud_trainer.making import make
from cloud_trainer.recipe import Recipe
from headwater.contract.errors import BadInput, GateFailed
from headwater.transport import tflite
from tests.cloud_trainer.plant import healthy, training_set

RECIPE = Recipe()
MADE = make(training_set(healthy(7, 600, pumps=2)), RECIPE)
LINEAR = MADE.trained.detector.linear


def test_the_runtime_agrees_on_every_window() -> None:
    """Scores differ by far less than 1e-5 (relative) on all windows and golden vectors, and the alarms are the same."""
    golden = parity.golden_vectors(MADE.trained)
    assert MADE.parity.windows == sum(map(len, MADE.trained.vectors.values())) + len(golden.inputs)
    assert MADE.parity.worst < 5e-6
    assert MADE.parity.runtime == tflite.runtime_class()


def test_golden_vectors_reach_far_beyond_what_is_healthy() -> None:
    """They hold each feature far out on its own, all at once, zeros, and the lowest and highest healthy scores."""
    golden = parity.golden_vectors(MADE.trained)
    inputs = np.array(golden.inputs, np.float32)
    assert np.abs(inputs).max() == 1000.0
    assert (inputs == 0).all(axis=1).any()
    every = np.concatenate([LINEAR.score(rows)[0] for rows in MADE.trained.vectors.values()])
    assert {float(every.min()), float(every.max())} <= set(golden.scores)
    scores, _ = tflite.Model(MADE.model).score(inputs)
    assert np.allclose(scores, golden.scores, rtol=golden.tolerance, atol=0)


@pytest.mark.parametrize("spoil", ["weight", "bias", "nan", "identity"])
def test_another_model_does_not_pass(spoil: str) -> None:
    """A model whose numbers are not those that were trained fails the gate, however small the change."""
    weights, bias = LINEAR.weights.copy(), LINEAR.bias.copy()
    if spoil == "weight":
        weights[3, 3] *= np.float32(1.001)
    elif spoil == "bias":
        bias[0] += np.float32(0.01)
    elif spoil == "nan":
        weights[0, 0] = np.nan
    else:
        weights = np.eye(len(bias), dtype=np.float32)
    with pytest.raises(GateFailed, match="away from training"):
        parity.check(MADE.trained, export(weights, bias), RECIPE.rule)


def test_one_alarm_more_or_less_does_not_pass() -> None:
    """Scores within the tolerance that fall on different sides of the threshold are other alarms: refused."""
    key, rows = next(iter(MADE.trained.vectors.items()))
    theirs = np.sort(tflite.Model(MADE.model).score(rows)[0].astype(np.float64))
    ours = np.sort(LINEAR.score(rows)[0])
    between = [(a + b) / 2 for a, b in zip(theirs, ours, strict=True) if a != b]
    rule = msgspec.structs.replace(RECIPE.rule, open_after=1)
    refused = 0
    for threshold in between:
        trained = replace(MADE.trained, thresholds={**MADE.trained.thresholds, key: float(threshold)})
        try:
            parity.check(trained, MADE.model, rule)
        except GateFailed as error:
            assert "other alarms" in str(error)  # noqa: PT017  most thresholds change nothing, some must
            refused += 1
    assert refused > 0


def test_the_bytes_depend_on_the_numbers_alone() -> None:
    """Written twice, the file is the same; NaN can be written, for models that are spoilt on purpose."""
    assert export(LINEAR.weights, LINEAR.bias) == MADE.model
    spoilt = tflite.Model(export(np.full_like(LINEAR.weights, np.nan), LINEAR.bias))
    assert math.isnan(float(spoilt.score(np.zeros((1, len(LINEAR.bias)), np.float32))[0][0]))


def test_what_is_no_square_matrix_is_refused() -> None:
    """Weights and biases that do not fit each other do not become a file."""
    with pytest.raises(BadInput):
        export(LINEAR.weights[:-1], LINEAR.bias)


def test_contributions_divide_the_square_of_the_score() -> None:
    """They are never negative and sum to score², so that shares can be shown."""
    rows = next(iter(MADE.trained.vectors.values()))
    scores, parts = tflite.Model(MADE.model).score(rows)
    assert (parts >= 0).all()
    assert np.allclose(parts.sum(axis=1), scores**2, rtol=1e-5)


def test_the_model_is_what_hotelling_wrote() -> None:
    """The score is the root of the Mahalanobis distance per feature."""
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(4, 4))
    covariance, mean = mixing @ mixing.T + np.eye(4), rng.normal(size=4)
    model = whitening(mean, covariance)
    x = rng.normal(size=(50, 4)) * 3
    wanted = np.sqrt(np.einsum("ni,ij,nj->n", x - mean, np.linalg.inv(covariance), x - mean) / 4)
    assert np.allclose(model.score(x.astype(np.float32))[0], wanted, rtol=1e-5)
