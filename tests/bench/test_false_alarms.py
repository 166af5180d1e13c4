"""`bench.false_alarms` counts what nobody would want, on whatever is normal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.false_alarms import conformal
from bench.false_alarms.series import read, row_s
from headwater.contract.errors import BadInput
from tests.bench.rig import record


def _nab(folder: Path, jump: float = 0.0) -> None:
    dice = np.random.default_rng(3)
    values = dice.normal(80, 1, 2_000)
    values[1_000:1_060] += jump
    rows = [f"2014-01-{1 + n // 288:02d} {n // 12 % 24:02d}:{n % 12 * 5:02d}:00,{v}" for n, v in enumerate(values)]
    (folder / "heat.csv").write_text("timestamp,value\n" + "\n".join(rows) + "\n")
    span = [["2014-01-06 04:00:00.000000", "2014-01-06 12:00:00.000000"]]
    (folder / "heat_windows.json").write_text(json.dumps({"known/heat.csv": span}))


def test_a_series_of_nab_is_normal_outside_its_windows(tmp_path: Path) -> None:
    """Times, the period, and the labels of the windows."""
    _nab(tmp_path)
    (series,) = read([tmp_path])[0]
    assert row_s(series) == 300
    assert len(series.t) == 2_000
    assert series.labels is not None
    assert series.labels.sum() == 97
    (tmp_path / "heat_windows.json").write_text("[1]")
    with pytest.raises(BadInput, match="windows"):
        read([tmp_path])


def test_false_episodes_and_what_is_found_stand_side_by_side(tmp_path: Path) -> None:
    """A quiet recording has none, a jump that no window names is one; the same settings find the faults."""
    rig, calm, heat = tmp_path / "rig", tmp_path / "calm", tmp_path / "heat"
    for number in (1, 2, 3):
        record(rig / "one" / f"{number}.csv", number)
    record(calm / "calm.csv", 9, fault=False, labels=False, rows=3_000)
    heat.mkdir()
    _nab(heat, jump=30.0)
    done = _bench("--data", str(rig), "--data", str(calm), "--data", str(heat), "--look-after", "30", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {(row[0], row[1]): row for row in found["recordings"]}
    assert rows["calm", "headwater, nobody looks"][4] == "0"
    assert rows["heat", "headwater, nobody looks"][4] == "1"
    figures = {each["name"]: each for each in found["figures"]}
    assert figures["false_alarms.skab_f1"]["value"] > 0.85
    assert figures["false_alarms.twice_f1"]["value"] > 0.82
    assert figures["false_alarms.void_normal"]["value"] is not None
    assert any(name == "static conformal" for _, name in rows)


def test_nothing_normal_is_nothing_to_count(tmp_path: Path) -> None:
    """Recordings with long faults alone are refused in a sentence."""
    record(tmp_path / "one" / "1.csv", 1)
    done = _bench("--data", str(tmp_path))
    assert done.returncode == 2
    assert "normal for most of its time" in done.stdout + done.stderr


def test_the_yardsticks_are_what_they_are_called() -> None:
    """On rows that can be exchanged both keep near their 1 %; on a level that stays away static never ends."""
    values = np.random.default_rng(5).normal(size=(6_000, 2))
    assert 0 < conformal.static(values).mean() < 0.05
    assert 0.003 < conformal.adaptive(values).mean() < 0.03
    values[1_000:] += 6
    assert conformal.static(values)[700:].all()
    assert conformal.adaptive(values).mean() < 0.1


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.false_alarms", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
