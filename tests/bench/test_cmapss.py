"""`bench.cmapss` tells what it counted, and cannot be pleased by labels that are not there."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.cloud_trainer.life.engines import fleet, write


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark, quick, as JSON."""
    command = [sys.executable, "-m", "bench.cmapss", "--quick", "--json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_figures_and_predictions_agree(tmp_path: Path) -> None:
    """The error that is printed is that of the file; a set without labels has none, and predictions all the same."""
    lefts = {}
    for name, seed in (("FD001", 1), ("FD003", 2)):
        lives = fleet(20, seed, regimes=1)
        write(tmp_path, name, lives, part="train")
        lefts[name] = write(tmp_path, name, fleet(12, seed + 10, regimes=1), part="test")
    (tmp_path / "RUL_FD001.txt").write_text("\n".join(map(str, lefts["FD001"])))

    done = bench("--data", str(tmp_path), "--predictions", str(tmp_path / "out.csv"))

    assert done.returncode == 0, done.stderr
    figures = {figure["name"]: figure for figure in json.loads(done.stdout)["figures"]}
    rows = list(csv.DictReader((tmp_path / "out-FD001.csv").read_text().splitlines()))
    assert [row["unit"] for row in rows] == [str(number) for number in range(1, 13)]
    says = np.array([float(row["rul"]) for row in rows])
    off = np.sqrt(np.mean((says - np.array(lefts["FD001"])) ** 2))
    assert abs(figures["cmapss.rmse_fd001"]["value"] - off) < 0.01
    inside = [float(row["low"]) <= left <= float(row["high"]) for row, left in zip(rows, lefts["FD001"], strict=True)]
    assert abs(figures["cmapss.coverage_fd001"]["value"] - np.mean(inside)) < 0.001
    assert figures["cmapss.rmse_fd003"]["value"] is None
    assert not figures["cmapss.rmse_fd003"]["met"]
    assert "no labels" in figures["cmapss.rmse_fd003"]["note"]
    assert len((tmp_path / "out-FD003.csv").read_text().splitlines()) == 13


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    """A folder without sets, and a set that the folder lacks, end it in a sentence."""
    done = bench("--data", str(tmp_path))
    assert done.returncode == 2
    assert "no train_" in done.stderr
    write(tmp_path, "FD001", fleet(2, 1), part="train")
    done = bench("--data", str(tmp_path), "--subset", "FD007")
    assert done.returncode == 2
    assert "has no set FD007" in done.stderr
    assert "there is: FD001" in done.stderr
