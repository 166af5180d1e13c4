"""`headwater train run --budget`: who competed, and who ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud_trainer.cli import app
from cloud_trainer.making import make
from cloud_trainer.recipe import Recipe
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import MANIFEST_FILE, decode_manifest
from tests.cloud_trainer.pool.windows import CHANNELS, WINDOW, training_set, turning


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the readings of two rigs, and settings for windows like those of the other tests."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in (1, 2):
        lines = [";".join(("datetime", *CHANNELS))]
        lines += [
            f"2026-01-01 {row // 3600:02}:{row // 60 % 60:02}:{row % 60:02};" + ";".join(f"{x:.6f}" for x in values)
            for row, values in enumerate(turning(900, number))
        ]
        (folder / f"rig-{number}.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("HEADWATER_TRAINER__RECIPE__WINDOW", f"{WINDOW}")
    monkeypatch.setenv("HEADWATER_TRAINER__RECIPE__STEP", "4")
    monkeypatch.setenv("HEADWATER_TRAINER__RECIPE__ESTIMATORS", "{}")
    return folder


def test_a_run_with_a_budget_tells_of_every_challenger(recordings: Path, tmp_path: Path) -> None:
    """The table has who found how much at what price, ships or why not; the manifest has it too."""
    asked = ["run", "--class", "rig", "--folder", str(recordings), "--budget", "4", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for said in ("challenger", "hotelling-t2", "pca-t2-q", "dense-ae", "ships", "beyond the budget of 4 s"):
        assert said in done.stdout
    assert "certified for litert/" in done.stdout
    manifest = decode_manifest((tmp_path / "out" / MANIFEST_FILE).read_bytes())
    told = {each["name"]: each["verdict"] for each in manifest.metrics["challengers"]}
    assert told[manifest.algorithm] == "ships"
    assert manifest.metrics["recipe"]["budget_s"] == 4.0


def test_without_a_budget_nothing_is_said_of_challengers(recordings: Path) -> None:
    """T² alone, as JSON."""
    asked = ["run", "--class", "rig", "--folder", str(recordings), "--budget", "0", "--dry-run", "--json"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    manifest = json.loads(done.stdout)
    assert manifest["algorithm"] == "hotelling-t2"
    assert "challengers" not in manifest["metrics"]


def test_too_little_to_compare_is_said() -> None:
    """A handful of windows held out is no contest: what to do is in the hint. T² alone is made of as little."""
    recipe = Recipe(window=WINDOW, step=4, budget_s=5.0, estimators={}, holdout=0.1, least=1)
    little = training_set(200, assets=1)
    with pytest.raises(GateFailed, match="needed for a contest") as raised:
        make(little, recipe)
    assert "--budget 0" in raised.value.hint


def test_many_assets_with_few_windows_each_can_compete() -> None:
    """Where nothing is left to choose hyper-parameters on, the first of each family competes."""
    recipe = Recipe(window=WINDOW, step=4, budget_s=4.0, estimators={}, least=1, holdout=0.5, open_after=2)
    made = make(training_set(44, assets=30), recipe)
    assert made.trained.metrics["contest"]["windows_compared"] >= 24
