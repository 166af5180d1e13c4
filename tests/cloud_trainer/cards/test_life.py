"""Predictions of remaining life are read from a file, or refused by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_trainer.cards import life
from headwater.contract.errors import BadInput


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "", "soon"])
def test_what_is_no_number_is_named(tmp_path: Path, wrong: str) -> None:
    """A figure of a card is never NaN for one row of a file."""
    path = tmp_path / "predictions.csv"
    path.write_text(f"unit,rul,low,high,true\n1,10,5,20,12\n2,10,{wrong},20,12\n")
    with pytest.raises(BadInput, match=r"predictions.csv, line 3, column low: .* is no number"):
        life.read(path)
    path.write_text("\ufeffrul,low,high\n10,5,20\n", "utf-8")
    assert life.read(path).figures == {"width": 15.0}


def test_cycles_are_no_lives(tmp_path: Path) -> None:
    """The caption says what a row is, and how many lives there are where the file says."""
    path = tmp_path / "predictions.csv"
    path.write_text("unit,rul,low,high\n1,10,5,20\n1,9,4,19\n2,30,20,40\n")
    assert life.read(path).text == "Predictions in 3 cycles of 2 lives with their intervals: width 16.7."
    path.write_text("rul,low,high\n10,5,20\n9,4,19\n")
    assert life.read(path).text == "Predictions in 2 cycles with their intervals: width 15."
