"""A card says what a model was trained on, what it was seen to do, and what it cannot see."""

from __future__ import annotations

import base64
import json
import random
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from typer.testing import CliRunner

from headwater.app.cli import app
from headwater.contract.errors import BadInput
from headwater.transport.code_version import code_version
from tests.cloud_trainer.rigs import train_rigs, write_rigs

PNG = b"\x89PNG\r\n\x1a\n"
TRAINED = 600


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the healthy begin of two rigs."""
    root = tmp_path_factory.mktemp("card")
    folder = write_rigs(root / "trained", rigs=2, rows=TRAINED)
    return train_rigs(folder, root / "m")


def card(model: Path, folder: Path, out: Path, *more: str) -> dict[str, Any]:
    arguments = ["train", "card", str(model), "--folder", str(folder), "--site", "lab", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--json", *more])
    assert done.exit_code == 0, done.output
    written: dict[str, Any] = json.loads((out / "card.json").read_text())
    assert json.loads(done.stdout) == written
    return written


def test_a_card_on_labelled_recordings(model: Path, tmp_path: Path) -> None:
    """Figures with intervals, five pictures as files and inline, and the sentences that people need."""
    folder = write_rigs(tmp_path / "seen", rigs=3, rows=2400, fault=8.0, labels=True)
    told = card(model, folder, tmp_path / "out")
    assert told["figures"]["average_precision"]["value"] > 0.9
    low, high = told["figures"]["f1"]["interval"]
    assert low <= told["figures"]["f1"]["value"] <= high
    assert told["alarms"]["labels_known_share"] == 1.0
    assert told["model"]["code"] == code_version()
    assert told["seen_on"]["is_training_data"] is False
    assert told["seen_on"]["trained_on"] == "rig-0.csv[0], 0 to 599", "recordings are known by their names"
    seen = " ".join(told["cannot_see"])
    assert "lab/rig-2" in seen  # was not among those it was trained on
    assert "other than load, vibration" in seen
    assert "over within 11 readings" in seen
    page = (tmp_path / "out/card.html").read_text()
    inline = re.findall(r"src='data:image/png;base64,([^']+)'", page)
    names = [one["file"] for one in told["pictures"]]
    assert names == ["precision-recall.png", "timeline.png", "residuals-by-regime.png", "drift.png"]
    assert [base64.b64decode(data) for data in inline] == [(tmp_path / "out" / name).read_bytes() for name in names]
    assert all(base64.b64decode(data).startswith(PNG) for data in inline)
    assert told["model"]["dataset"]["sha256"] in page
    assert "Labels known for 100% of" in page
    assert "http" not in page  # nothing is fetched by whoever opens it


@pytest.mark.parametrize("rigs", [3, 6])
def test_intervals_are_those_of_the_judge(model: Path, tmp_path: Path, rigs: int) -> None:
    """A model that is compared with itself has the figures of its card, by blocks of few machines and by machines."""
    folder = write_rigs(tmp_path / "seen", rigs=rigs, rows=2400, fault=8.0, labels=True)
    told = card(model, folder, tmp_path / "out", "--behind", str(TRAINED))
    asked = ["train", "compare", str(model), str(model), "--folder", str(folder), "--site", "lab", "--json"]
    judged = json.loads(CliRunner().invoke(app, [*asked, "--behind", str(TRAINED), "--dry-run"]).stdout)
    assert told["units"] == judged["units"] == ("blocks" if rigs == 3 else "assets")
    for name, one in judged["figures"].items():
        assert told["figures"][name] == {"value": one["champion"], "interval": one["champion_interval"]}, name
    assert told["seen_on"]["trained_on"] is None, "rows that were trained on are left out"
    page = (tmp_path / "out/card.html").read_text()
    assert f"95 % intervals (Student&#x27;s t) by {'assets, of' if rigs == 6 else 'blocks of readings, as'}" in page


def test_pictures_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With eight channels of long names and scores over decades no two labels of an axis touch."""
    figures: list[Any] = []
    folder = write_rigs(tmp_path / "seen", rigs=4, rows=1200, fault=400.0, labels=True)
    for path in folder.iterdir():
        lines = [line.split(";") for line in path.read_text().splitlines()]
        rows = [[*line[:2], *line[2:3] * 7, line[3]] for line in lines]
        rows[0] = ["datetime", *(f"bearing_temperature_{number}" for number in range(8)), "anomaly"]
        rng = random.Random(path.name)
        for row in rows[1:]:
            row[2:-1] = [f"{float(value) + rng.gauss(0, 0.1):.4f}" for value in row[2:-1]]
        path.write_text("".join(";".join(row) + "\n" for row in rows))
    wide = train_rigs(folder, tmp_path / "m", rows=TRAINED)
    monkeypatch.setattr(plt, "close", figures.append)
    card(wide, folder, tmp_path / "out")
    assert len(figures) == 4
    for figure in figures:
        for axes in figure.axes:
            for axis in (axes.xaxis, axes.yaxis):
                shown = [one for one in axis.get_ticklabels(which="both") if one.get_text() and one.get_visible()]
                boxes = [one.get_window_extent() for one in shown]
                touching = [
                    (one.get_text(), other.get_text())
                    for (one, a), (other, b) in combinations(zip(shown, boxes, strict=True), 2)
                    if a.overlaps(b)
                ]
                assert not touching


def test_without_labels_it_says_so(model: Path, tmp_path: Path) -> None:
    """No precision and no recall are claimed where nothing is known, and no picture of them is drawn."""
    told = card(model, write_rigs(tmp_path / "seen", rigs=2, rows=900), tmp_path / "out")
    assert set(told["figures"]) == {"alarms_per_week"}
    assert any("no labels are known" in one for one in told["cannot_see"])
    assert "precision-recall.png" not in [one["file"] for one in told["pictures"]]


def test_a_missed_fault_is_named(model: Path, tmp_path: Path) -> None:
    """A labelled fault in which no alarm was raised stands among what the model cannot see, with its time."""
    folder = write_rigs(tmp_path / "seen", rigs=2, rows=1200, fault=0.001, labels=True)
    told = card(model, folder, tmp_path / "out")
    assert any("2 labelled faults" in one and "lab/rig-0 at 15 min" in one for one in told["cannot_see"])


def test_drift_shows_where_it_is(model: Path, tmp_path: Path) -> None:
    """Measured from the training, the channel that walks away has a large index at the end, and the others have not."""
    folder = write_rigs(tmp_path / "seen", rigs=2, rows=2400, drift=40.0)
    drift = card(model, folder, tmp_path / "out")["drift"]
    assert drift["reference"] == "its training"
    assert drift["large"] == ["vibration"]
    assert drift["psi"]["vibration"][-1] > 1.0


def test_remaining_life_is_drawn_from_predictions(model: Path, tmp_path: Path) -> None:
    """Predictions with intervals give a scatter and its figures; without truth no error is claimed."""
    folder = write_rigs(tmp_path / "seen", rigs=1, rows=400)
    known = tmp_path / "known.csv"
    known.write_text("unit,rul,low,high,true\n1,100,90,110,95\n2,50,40,60,61\n")
    told = card(model, folder, tmp_path / "out", "--predictions", str(known))
    assert told["remaining_life"] == {"rmse": pytest.approx(8.544, abs=1e-3), "coverage": 0.5, "width": 20.0}
    assert (tmp_path / "out/remaining-life.png").read_bytes().startswith(PNG)
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("unit,rul,low,high\n1,100,90,110\n")
    assert card(model, folder, tmp_path / "out2", "--predictions", str(unknown))["remaining_life"] == {"width": 20.0}
    bad = tmp_path / "bad.csv"
    bad.write_text("unit,rul,low,high\n1,100,x,110\n")
    arguments = ["train", "card", str(model), "--folder", str(folder), "--out", str(tmp_path / "no")]
    done = CliRunner().invoke(app, [*arguments, "--predictions", str(bad)])
    assert isinstance(done.exception, BadInput)
    assert "line 2, column low" in str(done.exception)
