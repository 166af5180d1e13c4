"""Figures of two models of remaining life: a share stays one, however few assets there are."""

from __future__ import annotations

import numpy as np
import pytest

from cloud_trainer.judging.decision import Figure
from cloud_trainer.judging.lives import _figure, decide


def test_no_share_is_above_one_or_below_none() -> None:
    """Of three assets, of which one model holds nearly all and the other nearly nothing; other figures are not cut."""
    cycles = np.full((3, 2), 100.0)
    held = np.array([[100.0, 1.0], [99.0, 0.0], [92.0, 9.0]])
    units = np.stack([cycles * 400, cycles, held, cycles * 30], axis=2)
    found = _figure("coverage", units)
    assert found.champion_interval is not None
    assert found.challenger_interval is not None
    assert found.difference_interval is not None
    assert found.champion_interval[1] == 1.0
    assert 0.8 < found.champion_interval[0] < 0.97
    assert found.challenger_interval[0] == 0.0
    assert found.difference_interval[0] == -1.0
    units[:, :, 3] *= np.array([[1.0, 2.0], [1.1, 2.1], [1.2, 2.2]])
    assert _figure("width", units).champion_interval == _figure("width", units).champion_interval
    width = _figure("width", units).champion_interval
    assert width is not None
    assert width[1] > 30


@pytest.mark.parametrize(
    ("within", "verdict"), [((1.0, 2.0), "keep"), ((-1.0, 1.0), "undecided"), ((-2.0, -1.0), "undecided")]
)
def test_what_a_model_was_trained_on_is_said_whatever_comes_of_it(within: tuple[float, float], verdict: str) -> None:
    """Figures of lives that one of both has learned from are better than those of others: readers are to know."""
    doubt = "the champion was trained on a part of this range"
    figures = {
        "rmse": Figure(8.0, 8.0, None, None, sum(within) / 2, within),
        "coverage": Figure(0.9, 0.9, None, None, 0.0, None),
    }
    found, reasons = decide(figures, 0.9, [doubt])
    assert (found, reasons[-1]) == (verdict, doubt)
