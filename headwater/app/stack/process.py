"""Programs that outlive the command that started them, found again by a mark in their environment.

Every service runs in a session of its own with `HEADWATER_STACK=<folder>:<service>` in its environment, which its
children inherit. That mark, read from /proc (proc(5), `environ`), is the only record of what runs: no file of process
ids can go stale, a recycled id is never mistaken for ours, and what a killed command left behind is still found.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from headwater.contract.errors import BadInput, Transient, Unreachable

MARK = "HEADWATER_STACK"
_PROC = Path("/proc")
_POLL_S = 0.02


def mark_of(folder: Path, service: str) -> str:
    """The value of the mark for one service of the stack in `folder`."""
    return f"{folder}:{service}"


def marked(folder: Path, service: str | None = None) -> dict[int, str]:
    """Process ids of the living (zombies excluded) that carry this stack's mark, with their service's name."""
    found: dict[int, str] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            name = _service(int(entry.name), folder)
            if name is not None and service in {None, name}:
                found[int(entry.name)] = name
    return found


def _service(pid: int, folder: Path) -> str | None:
    try:
        # A zombie has an empty environment, so it counts as gone.
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None  # gone meanwhile, or another user's
    start = f"{MARK}={folder}:".encode()
    for item in environment.split(b"\0"):
        if item.startswith(start) and b":" not in item[len(start) :]:
            return item[len(start) :].decode()
    return None


def spawn(argv: Sequence[str], *, folder: Path, service: str, log: Path, env: Mapping[str, str]) -> int:
    """Start a program in its own session, output to `log` (the life before goes to `<log>.1`); return its pid.

    Raises BadInput when the program cannot be run, Transient when the machine has no room for it.
    """
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            {**env, MARK: mark_of(folder, service)},
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            # Python ignores SIGPIPE, and a caller in its clean-up ignores SIGINT; a child must not inherit that.
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        )
    except OSError as exc:
        if exc.errno in {errno.EAGAIN, errno.ENOMEM}:
            raise Transient(
                f"{argv[0]} cannot be started: {exc.strerror}", hint="free some memory, then repeat"
            ) from exc
        raise BadInput(
            f"{argv[0]} cannot be run: {exc.strerror}", hint="install it again, or name another in the settings"
        ) from exc


def exit_status(pid: int) -> int | None:
    """With what a child of ours ended (as subprocess says it: minus the signal), None while it lives; see `reap`."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def reap(pid: int) -> bool:
    """True when `pid` has ended and let go of its ports and files; takes the exit status of a child of ours.

    The environment of a dying process is gone before its sockets are, and its first thread may end before the
    others (proc(5)): only a process id that is free, or a zombie without further threads, has really ended.
    """
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return _ended(pid)


def _ended(pid: int) -> bool:
    try:
        state = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[0]
        return state in {b"Z", b"X"} and len(list((_PROC / str(pid) / "task").iterdir())) <= 1
    except OSError:
        return True


def send(pid: int, service: str, folder: Path, signum: signal.Signals) -> None:
    """Signal `pid` if it still carries the mark; the descriptor keeps the id from being recycled in between."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _service(pid, folder) == service:
            signal.pidfd_send_signal(descriptor, signum)
    except ProcessLookupError:
        pass  # it ended by itself, which is what a signal is for here
    finally:
        os.close(descriptor)


def stop(folder: Path, services: Iterable[str] | None = None, *, grace_s: float | None = 10.0) -> list[str]:
    """End every marked process of these services (all when None): SIGTERM, then SIGKILL after `grace_s` seconds.

    Without a grace (None) SIGKILL at once. Children of children included.
    Returns the names of the services that ran. Raises Unreachable when one survives.
    """
    names = None if services is None else set(services)
    ran: set[str] = set()
    told: dict[int, str] = {}
    steps = [(signal.SIGTERM, grace_s)] if grace_s is not None else []
    for signum, patience_s in [*steps, (signal.SIGKILL, 10.0)]:
        deadline = time.monotonic() + patience_s
        signalled: set[int] = set()
        while living := _living(folder, names) | {p: n for p, n in told.items() if not reap(p)}:
            told.update(living)
            ran.update(living.values())
            for pid in living.keys() - signalled:
                send(pid, living[pid], folder, signum)
                signalled.add(pid)
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        else:
            return sorted(ran)
    raise Unreachable(
        f"processes {sorted(living)} of the stack in {folder} survived SIGKILL", hint="look for a hung disk"
    )


def _living(folder: Path, names: set[str] | None) -> dict[int, str]:
    return {pid: name for pid, name in marked(folder).items() if names is None or name in names}


def pass_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would change how a Java program runs."""
    return {k: v for k, v in environment.items() if not k.startswith(("JAVA", "JDK", "_JAVA", MARK))}
