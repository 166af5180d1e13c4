"""What the demo says to people who interrupt it, and to programs that read it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from headwater.app.demo.machine import machine
from headwater.app.demo.promises import told, zero

BUSY = """
import time
from headwater.app.demo.interrupt import answer_at_once
answer_at_once()
print("ready", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_answered_before_anything_is_stopped(number: signal.Signals) -> None:
    """One line at once; the second signal does not repeat it."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.send_signal(number)
        lines = [running.stderr.readline(), running.stderr.readline()]
        assert running.poll() is None, "said while it stops"
        running.send_signal(number)
        rest = running.stderr.read()

    assert lines == ["\n", "stopping everything that was started, this takes some seconds ...\n"]
    assert "stopping everything" not in rest


def test_what_was_not_promised_is_neither_met_nor_missed() -> None:
    """A figure without a goal has no verdict, and no side on which it would be better."""
    free, kept = told("demo.alarms", 7, "count"), zero("demo.lost", 0)

    assert (free.goal, free.met, free.better) == (None, None, None)
    assert (kept.goal, kept.met, kept.better) == (0, True, "lower")


def test_the_machine_is_told_with_its_load() -> None:
    """Cores and load, since times mean nothing without them."""
    found = machine()
    assert isinstance(found["cores"], int)
    assert len(found["load"]) == 3  # type: ignore[arg-type]  # a list
