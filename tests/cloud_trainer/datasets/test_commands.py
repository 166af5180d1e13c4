"""`headwater train dataset` and `train run --dataset` without a cluster: recordings, and a folder as the store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.app.cli import main
from tests.cloud_trainer.datasets import recorded


@pytest.fixture
def rigs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recordings, in a folder where commands leave their files."""
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HEADWATER_TRAINER__OBJECTS__ENDPOINT", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    return recorded.folder(tmp_path / "rigs", 300)


def ended(*arguments: str) -> int:
    """Exit code of a command."""
    try:
        main(["train", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def built(rigs: Path) -> None:
    assert ended("dataset", "build", "--class", "rig", "--folder", str(rigs), "--site", "lyon") == 0


def test_a_dataset_is_built_verified_frozen_and_learned_from(rigs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The frozen copy outlives the recordings, and gives the same model as they did."""
    built(rigs)
    digest = json.loads(Path("rig.dataset.json").read_text())["sha256"]
    assert ended("dataset", "verify", "rig.dataset.json", "--folder", str(rigs)) == 0
    freeze = ("dataset", "freeze", "rig.dataset.json", "--folder", str(rigs))
    assert ended(*freeze) == 0
    assert "\nfrozen: 900 records in" in capsys.readouterr().out
    assert ended(*freeze) == 0
    assert capsys.readouterr().out.startswith("was frozen before, and is proven: 900 records in")
    run = ("run", "--class", "rig", "--dataset")
    assert ended(*run, "rig.dataset.json", "--folder", str(rigs), "--out", "one") == 0
    for file in rigs.glob("*.csv"):
        file.unlink()
    assert ended(*run, digest[:10], "--out", "two") == 0
    assert Path("one/model.tflite").read_bytes() == Path("two/model.tflite").read_bytes()
    assert ended("dataset", "verify", "rig.dataset.json", "--frozen") == 0
    said = Path("rig.dataset.json").read_text()
    Path("other.json").write_text(said.replace('"lyon/rig-1":300', '"lyon/rig-1":299'))
    assert ended("dataset", "verify", "other.json", "--frozen") == 7
    Path("other.json").write_text(said.replace('"site":"lyon"', '"site":"paris"'))
    assert ended("dataset", "verify", "other.json", "--frozen") == 2
    assert "not that of its class, site and ranges" in capsys.readouterr().err
    capsys.readouterr()
    assert ended("dataset", "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["datasets"][0] == {
        "sha256": digest,
        "asset_class": "rig",
        "records": 900,
        "assets": 3,
    }


def test_what_changed_is_said(rigs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verifying ends with 7 and names file and rows; what is gone ends with 8; training refuses both."""
    built(rigs)
    lines = recorded.rows(300, 2)
    lines[5][2] = "1"
    recorded.write(rigs / "rig-2.csv", lines)
    capsys.readouterr()
    assert ended("dataset", "verify", "rig.dataset.json", "--folder", str(rigs), "--json") == 7
    told = json.loads(capsys.readouterr().out)
    assert told["same"] is False
    assert told["differences"][0].startswith("rig-2.csv[0], offsets 0 to 299")
    assert ended("run", "--class", "rig", "--dataset", "rig.dataset.json", "--folder", str(rigs), "--out", "x") == 7
    (rigs / "rig-2.csv").unlink()
    assert ended("dataset", "verify", "rig.dataset.json", "--folder", str(rigs)) == 8
    assert "there is no recording rig-2.csv" in capsys.readouterr().err


def test_a_report_is_printed_and_refuses(rigs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words and as JSON; with an error it ends with 6, and so does training."""
    header = ("datetime", *recorded.CHANNELS, "hours")
    for number in (1, 2, 3):
        lines = [[*line, str(n)] for n, line in enumerate(recorded.rows(300, number))]
        recorded.write(rigs / f"rig-{number}.csv", lines, header)
    asked = ("--class", "rig", "--folder", str(rigs))
    assert ended("dataset", "check", *asked) == 6
    assert "error    clock:hours: it tells the row number at 3 of 3 assets" in capsys.readouterr().out
    assert ended("dataset", "check", *asked, "--json") == 6
    assert json.loads(capsys.readouterr().out)["findings"][0]["check"] == "clock"
    assert ended("run", *asked, "--out", "x") == 6
    assert 'trainer.recipe.accept = ["clock:hours"]' in capsys.readouterr().err


def test_what_names_no_dataset_is_said(rigs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, two ways to say what to learn from, a class that it is not of."""
    built(rigs)
    assert ended("dataset", "verify", "other.json") == 2
    assert "there is no file other.json" in capsys.readouterr().err
    Path("ranges.json").write_text('{"lyon.readings": {"0": [0, 5]}}')
    assert ended("run", "--class", "rig", "--dataset", "rig.dataset.json", "--offsets", "ranges.json") == 2
    assert "--offsets and --dataset do not go together" in capsys.readouterr().err
    assert ended("run", "--class", "pump", "--dataset", "rig.dataset.json") == 2
    assert "of the class rig, not of pump" in capsys.readouterr().err
    assert ended("dataset", "verify", "deadbeef01") == 8
