"""What the runtime says of an exported network is what training said, and only such files are taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_trainer.export import export as export_scores
from cloud_trainer.life.export import export
from cloud_trainer.life.network import train
from headwater.contract.errors import BadInput
from headwater.transport.tflite import LifeModel, Model

RNG = np.random.default_rng(6)
ROWS = RNG.normal(size=(500, 7)).astype(np.float32)
NETWORK = train(ROWS, 40 + 30 * ROWS[:, 0].astype(float), np.ones(500), layers=(12, 6), most=80.0, steps=300, seed=0)


def test_the_runtime_says_what_training_said() -> None:
    """Within a thousandth of a cycle, also where it is cut off at either end."""
    rows = np.concatenate([ROWS, ROWS * 100])
    says = LifeModel(export(NETWORK)).remaining(rows)
    assert says.min() == 0
    assert says.max() == 80
    assert np.abs(says - NETWORK.predict(rows)).max() < 1e-3


def test_the_same_network_gives_the_same_bytes() -> None:
    """Twice."""
    assert export(NETWORK) == export(NETWORK)


def test_other_models_and_other_rows_are_refused() -> None:
    """A model of scores is none of remaining life, nor the other way; rows must have the features of training."""
    scores = export_scores(np.eye(7, dtype=np.float32), np.zeros(7, dtype=np.float32))
    with pytest.raises(BadInput, match="not a Headwater model"):
        LifeModel(scores)
    with pytest.raises(BadInput, match="not a Headwater model"):
        Model(export(NETWORK))
    with pytest.raises(BadInput, match="the model takes"):
        LifeModel(export(NETWORK)).remaining(ROWS[:, :6])
