"""Starts one service after the other's pattern: ports, command, process, first real answer."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from headwater.app.stack import process
from headwater.app.stack.state import Ledger, is_free
from headwater.contract.errors import BadInput, Conflict, Permanent, Unreachable
from headwater.transport.files import FULL

LEAST_FREE_BYTES = 100 * 10**6  # to start at all
FULL_BELOW_BYTES = 4 * 10**6  # while it runs


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments (the first is its full path) and what it needs in the environment."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Service(Protocol):
    """A server that can be started on remembered ports and asked whether it is ready."""

    @property
    def name(self) -> str:
        """Its name in the stack, log file and data folder."""

    @property
    def kind(self) -> str:
        """What it is, for people: `Kafka`, `MQTT broker`, `S3 server`."""

    @property
    def port_names(self) -> tuple[str, ...]:
        """The ports it needs; the first is the one that clients use."""

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Write its configuration below `folder`; raises HeadwaterError when the program is missing."""

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it answered one real request; OSError counts as no."""


class Runner:
    """The services of one folder: `<folder>/<name>/` holds a service's data, `<folder>/logs/` the logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        with plainly(self.folder):
            (self.folder / "logs").mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        self.ledger = Ledger(self.folder)

    def ports(self, service: Service) -> dict[str, int]:
        """The service's ports, chosen at its first start and remembered."""
        with plainly(self.folder):
            return self.ledger.ports(service.name, service.port_names)

    def address(self, service: Service) -> str:
        """`host:port` of the port that clients use."""
        return f"127.0.0.1:{self.ports(service)[service.port_names[0]]}"

    def log(self, name: str) -> Path:
        """The log of a service's present life; the one before is beside it with `.1` at the end."""
        return self.folder / "logs" / f"{name}.log"

    def pids(self, name: str) -> list[int]:
        """Living processes of a service, the first started first."""
        return sorted(process.marked(self.folder, name))

    def running(self) -> list[str]:
        """Names of the services that have a living process."""
        return sorted(set(process.marked(self.folder).values()))

    def answers(self, service: Service) -> bool:
        """Whether the service answers a real request now."""
        try:
            return service.answers(self.ports(service))
        except OSError:
            return False

    def start(self, service: Service, *, deadline_s: float = 90.0, cancelled: threading.Event | None = None) -> float:
        """Start the service unless it runs; return after its first real answer, with the seconds it took.

        Raises Unreachable with the end of its log when it ends or stays silent, Conflict when another program has
        its port. What was started is stopped again on any failure, cancellation included.
        """
        began = time.monotonic()
        cancelled = cancelled or threading.Event()
        if self.pids(service.name):
            if self._wait(service, None, 5.0, cancelled):
                return time.monotonic() - began
            process.stop(self.folder, [service.name])
        try:
            with plainly(self.folder):
                pid, program = self._launch(service, cancelled)
            self._await(service, pid, program, deadline_s, cancelled)
        except BaseException:
            process.stop(self.folder, [service.name], grace_s=3.0)
            raise
        return time.monotonic() - began

    def _launch(self, service: Service, cancelled: threading.Event) -> tuple[int, str]:
        """The process, and the program that it runs."""
        ports = self.ports(service)
        home = self.folder / service.name
        home.mkdir(exist_ok=True)
        command = service.prepare(home, ports)
        for port in ports.values():
            if not is_free(port):
                raise Conflict(
                    f"port {port} on 127.0.0.1, which {service.kind} {service.name} uses, is taken by another program",
                    hint="stop that program, or choose new ports with `headwater stack up --new-ports`",
                )
        if cancelled.is_set():
            raise _given_up(service)
        env = {**process.pass_on(os.environ), **command.env}
        log = self.log(service.name)
        return process.spawn(command.argv, folder=self.folder, service=service.name, log=log, env=env), command.argv[0]

    def _wait(self, service: Service, pid: int | None, deadline_s: float, cancelled: threading.Event) -> bool:
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline and not cancelled.is_set():
            if self.answers(service):
                return True
            if pid is not None and process.exit_status(pid) is not None:
                return False
            cancelled.wait(0.03)
        return False

    def _await(self, service: Service, pid: int, program: str, deadline_s: float, cancelled: threading.Event) -> None:
        if self._wait(service, pid, deadline_s, cancelled):
            return
        if cancelled.is_set():
            raise _given_up(service)
        status = process.exit_status(pid)
        process.reap(pid)
        what = f"did not answer within {deadline_s:.0f} s" if status is None else f"{_ended(status)} while it started"
        tail = self.tail(service.name, 12)
        if says_full(tail):
            raise full(self.folder)
        said = f"the end of its log:\n{tail}" if tail else "its log is empty"
        raise Unreachable(
            f"{service.kind} {service.name} ({program}, process {pid}) {what}; {said}",
            hint=f"the whole log is {self.log(service.name)}"
            if tail
            else f"see whether {program} is the right program",
        )

    def tail(self, name: str, lines: int) -> str:
        """The last lines of a service's log, at most 64 KiB."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 65_536))
                text = file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, *names: str, grace_s: float = 10.0) -> list[str]:
        """Stop these services, or every one when none is named; return what ran. See `process.stop`."""
        return process.stop(self.folder, names or None, grace_s=grace_s)

    def kill(self, name: str) -> None:
        """SIGKILL one service and its children, and wait until they are gone."""
        if not process.stop(self.folder, [name], grace_s=None):
            raise BadInput(f"{name} is not running in {self.folder}", hint="`headwater stack status` shows what is")


def _ended(status: int) -> str:
    return f"ended with exit status {status}" if status >= 0 else f"was ended by signal {-status}"


def _given_up(service: Service) -> Conflict:
    return Conflict(f"the start of {service.kind} {service.name} was given up because another one failed")


@contextmanager
def plainly(folder: Path, other: str = "--home or HEADWATER_HOME") -> Iterator[None]:
    """Say in a sentence what the file system refused: Permanent for a full disk, else BadInput."""
    try:
        yield
    except OSError as exc:
        where = exc.filename or folder
        if exc.errno in FULL or says_full(str(exc)):  # shutil.Error holds sentences and no number
            raise full(Path(where)) from exc
        raise BadInput(f"{where}: {exc.strerror or exc}", hint=f"choose a folder of your own with {other}") from exc


def says_full(text: str) -> bool:
    """Whether a log or a message speaks of a full disk."""
    return any(os.strerror(number).lower() in text.lower() for number in FULL)


def full(where: Path) -> Permanent:
    """The error of a full disk."""
    return Permanent(
        f"the disk that holds {where} is full",
        hint="free some space (the stack needs about 500 MB), or choose another disk with --home; then repeat",
    )


def check_room(folder: Path, *, least_bytes: int = LEAST_FREE_BYTES) -> None:
    """Permanent when there is so little room that servers would start and then fail one after the other."""
    free = shutil.disk_usage(folder).free
    if free < least_bytes:
        error = full(folder)
        raise Permanent(f"{error}: {free // 10**6} MB are free", hint=error.hint)
