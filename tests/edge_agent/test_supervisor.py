"""Children are kept running, stopped in order, and never outlive their supervisor."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

SUPERVISOR = """
import sys
from edge_agent.supervisor import Supervisor
child, folder, *parts = sys.argv[1:]
sys.exit(Supervisor([[sys.executable, "-c", child, folder, part] for part in parts], stop_s=1.0).run())
"""
CHILD = """
import os, signal, sys, time
from pathlib import Path
from edge_agent.supervisor import die_with_parent
assert die_with_parent()
folder, part = sys.argv[1:]
if part == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: (Path(folder, part + ".stopped").touch(), sys.exit(0)))
with Path(folder, part + ".pids").open("a") as file:
    file.write(f"{os.getpid()}\\n")
if part != "setup":
    time.sleep(60)
"""


class Supervised:
    """A supervisor over small children."""

    def __init__(self, folder: Path, *parts: str) -> None:
        self._folder = folder
        self.process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, CHILD, str(folder), *parts])

    def pids(self, part: str) -> list[int]:
        """Every process that this part has had so far."""
        path = self._folder / f"{part}.pids"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(*parts: str) -> Supervised:
        started.append(Supervised(tmp_path, *parts))
        for part in parts:
            wait_for(lambda: started[-1].pids(part))  # noqa: B023  called in this turn
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def wait_for(condition: Callable[[], object], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "too late"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_killed_child_comes_back(supervise: Callable[..., Supervised]) -> None:
    """With a new process, while the others go on; work that is done is not done again."""
    supervised = supervise("setup", "a", "b")

    os.kill(supervised.pids("a")[0], signal.SIGKILL)

    wait_for(lambda: len(supervised.pids("a")) == 2)
    assert not gone(supervised.pids("a")[1])
    assert len(supervised.pids("b")) == 1
    assert len(supervised.pids("setup")) == 1


def test_no_child_outlives_a_killed_supervisor(supervise: Callable[..., Supervised]) -> None:
    """SIGKILL leaves it no chance to stop them; the kernel does."""
    supervised = supervise("a", "b", "stubborn")

    supervised.process.kill()

    for part in ("a", "b", "stubborn"):
        wait_for(lambda: all(gone(pid) for pid in supervised.pids(part)))  # noqa: B023  called in this turn


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on(supervise: Callable[..., Supervised], tmp_path: Path, number: signal.Signals) -> None:
    """Children finish before the supervisor ends with 0."""
    supervised = supervise("a", "b")

    supervised.process.send_signal(number)

    assert supervised.process.wait(10) == 0
    assert {path.name for path in tmp_path.glob("*.stopped")} == {"a.stopped", "b.stopped"}


def test_a_child_that_does_not_stop_is_killed(supervise: Callable[..., Supervised]) -> None:
    """After a bounded time, and the exit status says so."""
    supervised = supervise("a", "stubborn")

    supervised.process.terminate()

    assert supervised.process.wait(10) == 1
    assert gone(supervised.pids("stubborn")[0])


def test_a_part_loads_nothing_for_eyes() -> None:
    """The processes of a box that nobody watches leave out what draws on terminals: 5 MB each."""
    python = [sys.executable, "-X", "importtime", "-m", "edge_agent", "bridge"]
    done = subprocess.run(python, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    loaded = done.stderr

    assert "structlog" in loaded
    assert "rich." not in loaded
    assert "typer" not in loaded


def test_its_log_lines_look_like_those_of_its_children(tmp_path: Path) -> None:
    """On a terminal the same columns; each part is named once, and the end of it all is said."""
    own, terminal = pty.openpty()
    speak = "from headwater.transport import logs; logs.configure(part='bridge'); import structlog\n"
    speak += "structlog.get_logger().info('started', child='x', pid=7)"
    subprocess.run([sys.executable, "-c", speak], stderr=terminal, check=True)
    [theirs] = os.read(own, 4096).decode().splitlines()
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, CHILD, str(tmp_path), "a"], stderr=terminal)
    wait_for((tmp_path / "a.pids").exists)
    supervisor.terminate()
    assert supervisor.wait(15) == 0
    started, *_, stopped = os.read(own, 4096).decode().splitlines()
    os.close(own)
    os.close(terminal)

    shape = [
        re.sub(r"[\d.]+", "0", line) for line in (theirs.replace("bridge", "P").replace("x\x1b", "C\x1b"), started)
    ]
    assert shape[0] == shape[1].replace("supervisor", "P").replace("a\x1b", "C\x1b")
    assert "stopped" in stopped
