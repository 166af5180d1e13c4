"""What the runtime says of an exported network is what training said, in the shape of every other model."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_trainer.life.export import export
from cloud_trainer.life.network import ridge, train
from headwater.contract.errors import BadInput
from headwater.transport.tflite import Model

RNG = np.random.default_rng(6)
ROWS = RNG.normal(size=(500, 7)).astype(np.float32)
LEFT = 40 + 30 * ROWS[:, 0].astype(float)
NETWORK = train(ROWS, LEFT, np.ones(500), layers=(12, 6), most=80.0, steps=300, seed=0)


def test_the_runtime_says_what_training_said() -> None:
    """Within a thousandth of a cycle, also where it is cut off at either end; a ridge too."""
    rows = np.concatenate([ROWS, ROWS * 100])
    for network in (NETWORK, ridge(ROWS, LEFT, most=80.0)):
        scores, parts = Model(export(network, 5)).score(rows)
        assert scores.min() == 0
        assert scores.max() == 80
        assert np.abs(80 - scores - network.predict(rows)).max() < 1e-3
        assert parts.shape == (1000, 5)
        assert not parts.any()


def test_the_same_network_gives_the_same_bytes() -> None:
    """Twice."""
    assert export(NETWORK, 5) == export(NETWORK, 5)


def test_the_network_of_the_recipe_is_small() -> None:
    """36 features and three layers are less than 24 KB."""
    rows = RNG.normal(size=(600, 36)).astype(np.float32)
    network = train(rows, np.arange(600.0), np.ones(600), layers=(48, 24, 16), most=125.0, steps=2, seed=0)
    assert len(export(network, 24)) <= 24 * 1024


def test_other_rows_are_refused() -> None:
    """Rows must have the features of training."""
    with pytest.raises(BadInput, match="the model takes"):
        Model(export(NETWORK, 5)).score(ROWS[:, :6])
