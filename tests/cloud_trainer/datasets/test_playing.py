"""Recordings are split in a past and a stream, and the stream keeps the order and rhythm of each."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from cloud_trainer.datasets.playing import schedule, split, ticks, topics_of
from cloud_trainer.datasets.sources import FolderSource
from headwater.app.cli import main
from headwater.contract.errors import BadInput
from tests.cloud_trainer.datasets import recorded


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    recorded.folder(tmp_path, 100)
    lines = recorded.rows(60, 9)
    lines[40][0], lines[41][0] = lines[41][0], lines[40][0]
    recorded.write(tmp_path / "short.csv", lines)
    return FolderSource(tmp_path, "rig", "lyon")


def test_the_split_is_by_rows_or_by_share(source: FolderSource) -> None:
    """Each recording gives its first rows to learn from; where none would be left to play, it is said."""
    assert split(source, 80, 0.5) == {f"rig-{n}.csv": {"0": (0, 80)} for n in (1, 2, 3)} | {"short.csv": {"0": (0, 60)}}
    assert split(source, None, 0.25)["short.csv"] == {"0": (0, 15)}
    with pytest.raises(BadInput, match="nothing is left to play"):
        split(source, 100, 0.5)


def test_the_stream_is_every_row_behind_once(source: FolderSource) -> None:
    """All recordings begin together, each in its own order also where its times go back, and nothing is repeated."""
    due = list(schedule(source.recordings, split(source, 30, 0.5)))
    assert len(due) == 3 * 70 + 30
    assert [each.at_s for each in due] == sorted(each.at_s for each in due)
    assert {each.asset for each in due[:4]} == {"rig-1", "rig-2", "rig-3", "short"}
    for one in source.recordings.values():
        assert [each.row for each in due if each.asset == one.asset] == one.rows[30:]


async def test_rows_come_when_they_are_due(source: FolderSource) -> None:
    """No row comes before its time; without a speed all come at once; either way each comes once and in order."""
    wanted = list(schedule(source.recordings, split(source, 30, 0.5)))
    began = time.monotonic()
    played = []
    async for rows in ticks(iter(wanted), 200):
        assert (time.monotonic() - began + 0.06) * 200 >= rows[-1].at_s
        played += rows
    assert played == wanted
    assert time.monotonic() - began >= wanted[-1].at_s / 200 - 0.06
    pieces = [rows async for rows in ticks(iter(wanted * 20), None)]
    assert [each for rows in pieces for each in rows] == wanted * 20
    assert max(map(len, pieces)) <= 2000


def test_assets_are_shared_out(tmp_path: Path) -> None:
    """In turn over the topics; a topic that holds no readings is refused."""
    assert topics_of(["a", "b", "c"], ["lyon.readings", "osaka.readings"]) == {
        "a": "lyon.readings",
        "b": "osaka.readings",
        "c": "lyon.readings",
    }
    with pytest.raises(BadInput, match=r"lyon.alarms holds no readings"):
        topics_of(["a"], ["lyon.alarms"])


def test_a_dry_run_writes_nothing(source: FolderSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what would be learned from and what would be played, and asks no cluster."""
    out = tmp_path / "x.dataset.json"
    asked = ["--class", "rig", "--into", "lyon.readings", "--train-rows", "40", "--out", str(out), "--dry-run"]
    with pytest.raises(SystemExit) as end:
        main(["train", "simulate-stream", str(tmp_path), *asked, "--json"])
    assert not end.value.code
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["training"]["records"]) == (200, 160)
    assert not out.exists()
