"""Our own processes under the demo: started with a settings file, killed for real, always stopped at the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from headwater.app.demo.console import wait_for
from headwater.app.stack.runner import FULL_BELOW_BYTES, check_room
from headwater.app.stack.stack import Stack
from headwater.contract.errors import HeadwaterError, Unreachable
from headwater.transport.files import replace_durably

STOP_S = 20.0
LOOK_S = 0.5


class Crew:
    """The processes that the demo started, each with a log of its own; leaving the context stops all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, tuple[list[str], Path]] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str], config: Path) -> None:
        """Start `headwater ARGUMENTS` with the settings of `config`; its output goes to `<name>.log`."""
        self._commands[name] = ([*arguments], config)
        with self._log(name) as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "headwater", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment(config),
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then stops them in order
            )

    def pid(self, name: str) -> int:
        """Process id of a running process."""
        return self._running[name].pid

    def check(self) -> None:
        """Raise Unreachable, with the end of its log, when a process has ended by itself; Permanent on a full disk."""
        check_room(self._folder, least_bytes=FULL_BELOW_BYTES)
        for name, process in self._running.items():
            if process.poll() is not None:
                raise Unreachable(f"{name} ended with {process.returncode}:\n{self.tail(name)}")

    def kill_and_restart(self, name: str) -> bool:
        """SIGKILL, then the same command again, as a service manager would; whether it was the kill that ended it."""
        process = self._running[name]
        process.kill()
        killed = process.wait() == -signal.SIGKILL
        arguments, config = self._commands[name]
        self.start(name, arguments, config)
        return killed

    def tail(self, name: str, lines: int = 12) -> str:
        """The last lines of a log."""
        path = self._folder / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def stop(self, *names: str) -> None:
        """SIGTERM to these (all when none are named), SIGKILL to those that have not ended after `STOP_S` seconds."""
        ending = {name: self._running.pop(name) for name in names or list(self._running)}
        for process in ending.values():
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + STOP_S
        for process in ending.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _log(self, name: str) -> TextIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        return (self._folder / f"{name}.log").open("a")


class Up:
    """A stack that is stopped even when starting it was interrupted."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __enter__(self) -> Stack:
        return self._stack.__enter__()

    def __exit__(self, *_: object) -> None:
        self._stack.down()


def environment(config: Path) -> dict[str, str]:
    """The environment of this process with the settings of one file and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    return kept | {"HEADWATER_CONFIG": str(config), "HEADWATER_HOME": str(config.parent / "home")}


def command(
    arguments: Sequence[str], config: Path, *, timeout_s: float = 180.0, meanwhile: Callable[[], None] = lambda: None
) -> Any:
    """Run `headwater ARGUMENTS --json` to its end and return what it printed; its own error when it fails.

    `meanwhile` is called again and again, and may raise. Unreachable when the command has not ended in time.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "headwater", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(config),
    ) as running:
        try:
            out, errors = _communicate(running, arguments, timeout_s, meanwhile)
        finally:
            running.kill()  # one that has ended does not feel it
    if running.returncode:
        raise CommandFailed(arguments, running.returncode, errors.decode(errors="replace"))
    return json.loads(out)


def _communicate(
    running: subprocess.Popen[bytes], arguments: Sequence[str], timeout_s: float, meanwhile: Callable[[], None]
) -> tuple[bytes, bytes]:
    end = time.monotonic() + timeout_s
    while True:
        try:
            return running.communicate(timeout=min(LOOK_S, timeout_s))
        except subprocess.TimeoutExpired as error:
            meanwhile()
            if time.monotonic() > end:
                raise Unreachable(
                    f"`headwater {' '.join(arguments)}` has not ended after {timeout_s:.0f} s", hint="the logs say more"
                ) from error


class CommandFailed(HeadwaterError):
    """A command of ours ended with an exit code other than 0."""

    def __init__(self, arguments: Sequence[str], code: int, said: str) -> None:
        super().__init__(f"`headwater {' '.join(arguments)}` ended with {code}: {said.strip()[-2000:]}")
        self.exit_code = code
        lines = [line for line in said.splitlines() if line.startswith("headwater: ")]
        self.reason = lines[-1].removeprefix("headwater: ") if lines else said.strip()


def write_toml(path: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Write settings, readable by their owner alone since they hold the S3 keys of the demo."""
    lines: list[str] = []
    for name, table in tables.items():
        _write_table(lines, name, table)
    replace_durably(path, "\n".join([*lines, ""]).encode(), mode=0o600)


def _write_table(lines: list[str], name: str, table: Mapping[str, Any]) -> None:
    lines.append(f"[{name}]")
    inner = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    lines.extend(f"{k} = {json.dumps(v)}" for k, v in table.items() if k not in inner)  # JSON scalars are TOML
    for key, value in inner.items():
        _write_table(lines, f"{name}.{key}", value)


def wait_for_file(path: Path, what: str, crew: Crew, *, deadline_s: float = 60.0) -> None:
    """Wait until `path` exists while all processes live."""

    def there() -> bool:
        crew.check()
        return path.exists()

    wait_for(what, there, deadline_s=deadline_s)
