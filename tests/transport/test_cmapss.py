"""Run-to-failure recordings are read as they are, or refused with their file and fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.contract.errors import BadInput
from headwater.transport import cmapss
from tests.cloud_trainer.life.engines import fleet, write


def test_units_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Settings, sensors and what was left; a set without labels says that it has none."""
    lives = fleet(4, 1)
    write(tmp_path, "FD009", lives, part="train")
    left = write(tmp_path, "FD009", lives, part="test")
    (tmp_path / "RUL_FD009.txt").write_text("".join(f"{each} \n" for each in left))

    assert cmapss.subsets(tmp_path) == ["FD009"]
    found = cmapss.units(tmp_path, "train", "FD009")
    assert [unit.number for unit in found] == [1, 2, 3, 4]
    assert np.array_equal(found[2].sensors[:, :4], lives.histories[2].sensors)
    assert np.array_equal(found[2].settings[:, :2], lives.histories[2].settings)
    found_left = cmapss.remaining(tmp_path, "FD009", 4)
    assert found_left is not None
    assert found_left.tolist() == left
    (tmp_path / "RUL_FD009.txt").unlink()
    assert cmapss.remaining(tmp_path, "FD009", 4) is None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "no numbers"),
        ("1 1 2 3\n", "4 columns"),
        ("1 1 " + "0 " * 23 + "x\n", "could not convert"),
        ("1 1 " + "0 " * 23 + "nan\n", "not finite"),
        ("1 2 " + "0 " * 24 + "\n", "unit 1 do not count from 1"),
        ("".join(f"{unit} 1 " + "0 " * 24 + "\n" for unit in (1, 2, 1)), "begins twice"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, lines: str, says: str) -> None:
    """With the file's name and what is wrong in it."""
    (tmp_path / "train_FD001.txt").write_text(lines)
    with pytest.raises(BadInput, match=says) as refused:
        cmapss.units(tmp_path, "train", "FD001")
    assert "train_FD001.txt" in str(refused.value)


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    """One that is not there, one without sets, and labels for other engines."""
    with pytest.raises(BadInput, match="is not a folder"):
        cmapss.subsets(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="no train_"):
        cmapss.subsets(tmp_path)
    with pytest.raises(BadInput, match="No such file"):
        cmapss.units(tmp_path, "test", "FD001")
    (tmp_path / "RUL_FD001.txt").write_text("1\n2\n")
    with pytest.raises(BadInput, match="2 lines for 3 test units"):
        cmapss.remaining(tmp_path, "FD001", 3)
