"""Ranges for people: one by one while they are few."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cloud_trainer.datasets.words import ranges
from headwater.app.cli import app
from tests.cloud_trainer.datasets.recorded import folder


def test_few_are_listed() -> None:
    """With what is read of each partition, in order."""
    assert ranges({"osaka.readings": {"0": (5, 9)}, "lyon.readings": {"1": (0, 3), "0": (0, 2)}}) == [
        "lyon.readings: 0: 0 to 2, 1: 0 to 3",
        "osaka.readings: 0: 5 to 9",
    ]


def test_many_are_counted() -> None:
    """Of a thousand sites as of a hundred recordings."""
    many = {f"site-{number}.readings": {"0": (0, 10), "1": (5, 10)} for number in range(1000)}
    assert ranges(many) == ["1,000 topics, 15,000 offsets; all with --json"]


def test_no_command_lists_a_hundred_recordings(tmp_path: Path) -> None:
    """Neither the one that trains, nor those that show what a model or a dataset is."""
    recordings, out = str(folder(tmp_path / "r", files=9)), str(tmp_path / "m")
    for words in (
        ["dataset", "build", "--class", "rig", "--folder", recordings, "--out", str(tmp_path / "d.json")],
        ["run", "--class", "rig", "--folder", recordings, "--out", out],
        ["explain", out],
    ):
        done = CliRunner().invoke(app, ["train", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "9 recordings, 1,800 rows; all with --json" in done.stdout
        assert "rig-1.csv" not in done.stdout
