"""Stack and demo on a disk that is full: a sentence, a documented exit code, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.app.stack.jars import KAFKA_VERSION
from headwater.app.stack.kafka import KafkaTools
from tests.disk import Disk, mounted
from tests.e2e.running import processes_below

HEADWATER = [sys.executable, "-m", "headwater"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system that is large enough for a demo until it is filled."""
    with mounted(tmp_path / "disk", 200 << 20) as disk:
        yield disk


def check_said(code: int | None, errors: str, of: Path) -> None:
    """What a person reads, and a script sees."""
    assert code == 2, errors
    said = [line for line in errors.splitlines() if line.startswith("headwater: ")]
    assert len(said) == 1, errors
    assert "full" in said[0] or "no space left" in said[0]
    assert "  hint: free some space" in errors
    assert "Traceback" not in errors
    assert processes_below(of) == []


def run(cwd: Path, *arguments: str, limit: str = "") -> tuple[int, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    command = ["/bin/sh", "-c", f'{limit} exec "$@"', "sh", *HEADWATER, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=kept, cwd=cwd)
    return done.returncode, done.stderr


def test_a_stack_does_not_start_without_room(disk: Disk, kafka_tools: KafkaTools, tmp_path: Path) -> None:
    """Nothing at all, or too little to live: it says so before it starts a server, and starts one with room."""
    assert kafka_tools.class_path
    home = disk.folder / "stack"
    for room in (0, 50 << 20):
        disk.fill(but_bytes=room)
        check_said(*run(tmp_path, "stack", "up", "--home", str(home)), disk.folder)
        assert not (home / "s3").exists()
        disk.free()
    code, errors = run(tmp_path, "stack", "up", "--home", str(home), "--clusters", "lyon")
    assert (code, run(tmp_path, "stack", "down", "--home", str(home))[0]) == (0, 0), errors


def test_a_stack_whose_servers_run_out_of_room(kafka_tools: KafkaTools, tmp_path: Path) -> None:
    """Files that may not grow (EFBIG) stop some server while it starts: all are stopped, none is retried for ever."""
    assert kafka_tools.class_path
    home = tmp_path / "stack"
    check_said(*run(tmp_path, "stack", "up", "--home", str(home), limit="ulimit -f 2;"), tmp_path)


@pytest.mark.parametrize("option", ["--home", "--report"])
def test_a_demo_does_not_start_without_room(disk: Disk, tmp_path: Path, option: str) -> None:
    """Its folder or its report on a full disk: said at once, not after the run; no file and no folder stays."""
    disk.fill()
    named = {"--home": disk.folder / "demo", "--report": disk.folder / "report.html"}
    others = {"--home": tmp_path / "demo", "--report": tmp_path / "report.html"}
    arguments = [str(each) for pair in (others | {option: named[option]}).items() for each in pair]
    check_said(*run(tmp_path, "demo", *arguments), tmp_path)
    assert {path.name for path in disk.folder.iterdir()} == {"ballast"}
    assert {path.name for path in tmp_path.iterdir()} == {"disk"}


@pytest.mark.timeout(120)
def test_a_demo_whose_disk_fills_up_ends_in_order(disk: Disk, kafka_tools: KafkaTools, tmp_path: Path) -> None:
    """In the middle of the run: every process is stopped, the logs are kept elsewhere, the disk is given back."""
    assert KAFKA_VERSION in kafka_tools.class_path
    command = [*HEADWATER, "demo", "--home", str(disk.folder / "demo"), "--report", str(tmp_path / "report.html")]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")} | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=kept) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                if "machines publish" in line:
                    disk.fill()
                    break
            out, errors = running.communicate(timeout=60)
        finally:
            running.kill()
    check_said(running.returncode, errors, tmp_path)
    assert "the logs of every process are kept in" in out
    assert {path.name for path in disk.folder.iterdir()} == {"ballast"}
    assert not (tmp_path / "report.html").exists()
