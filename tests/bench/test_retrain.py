"""`bench.retrain` counts what it says, on every runner that is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.retrain.verdict import figures
from tests.cloud_trainer.running.rays import has_ray


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark's second part, small, as JSON."""
    command = [sys.executable, "-m", "bench.retrain", "--part", "sites", "--json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_runners_agree_and_few_sites_are_no_thousand() -> None:
    """The same bytes from each; the figure of a thousand sites is null for thirty, with the reason beside it."""
    done = bench("--sites", "30", "--rows", "150", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    found = {figure["name"]: figure for figure in json.loads(done.stdout)["figures"]}
    assert found["retrain.runners_differ"]["met"]
    assert found["retrain.thousand_sites_s"]["value"] is None
    assert found["retrain.thousand_sites_s"]["note"] == "30 sites"
    assert found["retrain.message_to_first_score_s"]["value"] is None
    assert ("Ray: " in done.stderr) == has_ray()


def test_recordings_are_replayed_and_what_is_too_short_is_named(tmp_path: Path) -> None:
    """A folder stands in for the simulator; one without a recording that is long enough ends in a sentence."""
    lines = [f"2026-01-01 00:{n // 60:02d}:{n % 60:02d};{n % 7};{n % 11 + n / 100}" for n in range(160)]
    (tmp_path / "rig.csv").write_text("\n".join(["datetime;flow;current", *lines, ""]))
    done = bench("--sites", "30", "--rows", "150", "--rounds", "1", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "30 sites, 4,500 readings of recordings" in done.stderr
    short = bench("--sites", "30", "--rows", "170", "--data", str(tmp_path))
    assert short.returncode == 2
    assert "no recording below" in short.stderr
    assert "--rows" in short.stderr


@pytest.mark.timeout(180)
def test_a_message_becomes_a_score_at_the_edge() -> None:
    """On real services and processes; the parts of the time add up to it, none is negative."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.retrain", "--part", "loop", "--rounds", "1", "--json"],
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {figure["name"]: figure for figure in json.loads(done.stdout)["figures"]}
    assert found["retrain.message_to_first_score_s"]["met"]
    (row,) = [line.strip("│ ").split("│") for line in done.stderr.splitlines() if line.startswith("│ 1 ")]
    *parts, whole = map(float, row[2:])
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(whole, abs=0.03)
    assert whole == pytest.approx(found["retrain.message_to_first_score_s"]["value"], abs=0.01)


def test_what_was_not_measured_has_no_value() -> None:
    """Neither part asked: both figures are null and not met."""
    assert [(one.name, one.value, one.met) for one in figures([], None)] == [
        ("retrain.message_to_first_score_s", None, False),
        ("retrain.thousand_sites_s", None, False),
    ]
