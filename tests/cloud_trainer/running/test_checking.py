"""Data checks of a thousand sites: an asset in error is its own affair, a channel in error is everybody's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cloud_trainer.cli import app
from cloud_trainer.datasets.checks import Finding, Report
from cloud_trainer.local import write
from cloud_trainer.running.checking import refusals
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import decode_manifest
from tests.cloud_trainer.running.test_sites import MADE, fleet, recorded

ASSETS = ("lyon/pump-1", "lyon/pump-2", "osaka/pump-1")


def report(*findings: Finding) -> Report:
    return Report(3, 900, ("current", "flow"), list(findings))


def test_an_asset_or_a_site_is_left_out_for_its_own_errors() -> None:
    """With the reason; a warning is only told, and a channel that the network does not take is no matter."""
    found = refusals(
        report(
            Finding("error", "time-repeated", "lyon/pump-2", "300 of 300 readings"),
            Finding("error", "unit", "osaka/flow", "1000 times"),
            Finding("error", "unit", "lyon/noise", "1000 times"),
            Finding("error", "clock", "noise", "it tells the row number"),
            Finding("warning", "flat", "flow", "stood still"),
        ),
        ASSETS,
        ("current", "flow"),
    )
    assert found == {
        "lyon/pump-2": "time-repeated: 300 of 300 readings",
        "osaka/pump-1": "unit of flow: 1000 times",
    }


def test_an_error_in_a_channel_of_the_network_refuses_them_all() -> None:
    """By its name alone."""
    with pytest.raises(GateFailed, match=r"clock:flow: it tells the row number$"):
        refusals(
            report(
                Finding("error", "clock", "flow", "it tells the row number"),
                Finding("error", "time-repeated", "lyon/pump-2", "all"),
            ),
            ASSETS,
            ("flow",),
        )


def test_the_command_checks_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site in another unit gets the class's scaling and threshold, and is named; the others get theirs."""
    monkeypatch.chdir(tmp_path)
    learn = fleet(4)
    channel = learn.channels.index("flow")
    learn.series["site-2/pump-1"].values[:, channel] *= 1000.0
    assert np.isfinite(learn.series["site-2/pump-1"].values).any()
    recorded(tmp_path / "plants", learn)
    write(MADE, "pump-1", 4, tmp_path / "network")
    arguments = ["sites", "--class", "pump", "--model", "network", "--folder", "plants", "--out", "found", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    told = json.loads(done.stdout)
    assert told["assets"] == 3
    assert told["left_out"]["site-2/pump-1"].startswith("unit of flow: ")
    made = decode_manifest((tmp_path / "found" / "manifest.json").read_bytes())
    assert "site-2/pump-1" not in made.thresholds
    assert made.metrics["assets_left_out"] == ["site-2/pump-1"]
