"""Bridge, scorer and updater as processes of their own, started again when they end.

A crash inside a model runtime ends one process, and ingest goes on. The supervisor loads nothing but the standard
library: it is there all the time, on a box where memory is dear. No child outlives it, not even its SIGKILL.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

PARTS = ("setup", "bridge", "scorer", "updater")
STOP_S = 15.0  # a part finishes what it holds in less
_STEADY_S = 60.0  # a child that lived as long failed by accident: the next pause starts small again
_FIRST_PAUSE_S = 0.5
_MOST_PAUSE_S = 30.0
_PR_SET_PDEATHSIG = 1
PARENT = "HW_SUPERVISOR_PID"  # not a setting, so without the prefix of settings
# ECMA-48, 8.3.117 (SGR), as structlog's console renderer uses them.
_OFF, _BOLD, _DIM, _CYAN, _MAGENTA = (f"\x1b[{number}m" for number in (0, 1, 2, 36, 35))
_LEVELS = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


@dataclass
class _Child:
    part: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0  # when to start it, on the monotonic clock
    bound_s: float = _FIRST_PAUSE_S  # of the next pause
    done: bool = False


def die_with_parent() -> bool:
    """In a child: be killed when the process that PARENT names ends. False when it has ended already.

    prctl(2), PR_SET_PDEATHSIG: the signal comes when the thread that started us ends, which is the main one.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return True
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == int(parent)


def run(parts: Sequence[str] = PARTS) -> int:
    """Keep the parts running until SIGTERM or SIGINT; 0, or 1 when a part had to be killed at the end."""
    supervisor = Supervisor([[sys.executable, "-m", "edge_agent", part] for part in parts])
    return supervisor.run()


class Supervisor:
    """Commands that are to run; one that ends with 0 while nobody asked for it (`setup`) has done its work."""

    def __init__(self, commands: Sequence[Sequence[str]], *, stop_s: float = STOP_S) -> None:
        self._commands = {command[-1]: list(command) for command in commands}
        self._children = [_Child(part) for part in self._commands]
        self._stop_s = stop_s
        self._stopping = False
        self._wakeup, self._waker = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._waker, False)

    def run(self) -> int:
        """Run until SIGTERM or SIGINT."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                self._look()
                self._start_due()
                self._sleep(self._until_due())
        finally:
            _say("info", "stopping", children=sum(child.process is not None for child in self._children))
            killed = self._end()
            _say("info", "stopped")
        return 1 if killed else 0

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _sleep(self, seconds: float | None) -> None:
        select.select([self._wakeup], [], [], seconds)
        try:
            os.read(self._wakeup, 4096)
        except BlockingIOError:
            pass  # nothing but time has come

    def _until_due(self) -> float | None:
        waits = [child.due - time.monotonic() for child in self._children if child.process is None and not child.done]
        return max(0.0, min(waits)) if waits else None

    def _start_due(self) -> None:
        for child in self._children:
            if child.process is None and not child.done and child.due <= time.monotonic() and not self._stopping:
                self._start(child)

    def _start(self, child: _Child) -> None:
        child.started = time.monotonic()
        environment = os.environ | {PARENT: str(os.getpid())}
        try:
            child.process = subprocess.Popen(self._commands[child.part], env=environment, stdin=subprocess.DEVNULL)
        except OSError as error:  # no memory or no process left: the others go on
            self._start_later(child, f"cannot be started: {error.strerror}")
        else:
            _say("info", "started", child=child.part, pid=child.process.pid)

    def _start_later(self, child: _Child, why: str) -> None:
        """Full jitter below a bound that doubles."""
        if time.monotonic() - child.started > _STEADY_S:
            child.bound_s = _FIRST_PAUSE_S
        pause = random.uniform(0, child.bound_s)
        child.bound_s = min(child.bound_s * 2, _MOST_PAUSE_S)
        child.due = time.monotonic() + pause
        _say("warning", "ended", child=child.part, why=why, pause_s=round(pause, 2))

    def _look(self) -> None:
        """Note who has ended, and when to start it again."""
        for child in self._children:
            code = None if child.process is None else child.process.poll()
            if code is None:
                continue
            child.process = None
            if child.part == "setup" and code == 0:
                child.done = True
                continue
            self._start_later(child, f"exit status {code}")

    def _end(self) -> bool:
        """SIGTERM to all, SIGKILL to those that have not ended in time; whether there were any of those."""
        running = [child for child in self._children if child.process is not None]
        for child in running:
            assert child.process is not None  # noqa: S101  filtered above
            child.process.terminate()
        end = time.monotonic() + self._stop_s
        killed = False
        for child in running:
            assert child.process is not None  # noqa: S101  filtered above
            try:
                child.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                _say("error", "killed", child=child.part, why=f"it did not end within {self._stop_s:g} s")
                child.process.kill()
                child.process.wait()
                killed = True
        return killed


def _say(level: str, event: str, **about: object) -> None:
    """A log line as the parts write them, without loading what they load for it; `child` is whom it is about."""
    now = f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    told = {**about, "part": "supervisor"}
    if not sys.stderr.isatty():
        sys.stderr.write(json.dumps({**told, "event": event, "level": level, "timestamp": now}) + "\n")
        return
    shown = " ".join(f"{_CYAN}{name}{_OFF}={_MAGENTA}{_word(told[name])}{_OFF}" for name in sorted(told))
    sys.stderr.write(f"{_DIM}{now}{_OFF} [{_LEVELS[level]}{_BOLD}{level:<9}{_OFF}] {_BOLD}{event:<30}{_OFF} {shown}\n")


def _word(value: object) -> str:
    text = str(value)
    return repr(text) if set(text) & set(" \t=\r\n\"'") else text
