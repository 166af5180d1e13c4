"""What a stack remembers between its lives (`state.json`), and what it tells about itself while it runs."""

from __future__ import annotations

import fcntl
import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.contract.errors import BadInput, Conflict
from headwater.transport.files import replace_durably

# Below Linux's range for outgoing connections (ip_local_port_range, 32768 up), so that a remembered
# port is not taken by some client while the stack is down.
_PORTS = range(20_000, 32_768)


@dataclass(frozen=True, slots=True)
class MqttAddress:
    """Where the MQTT broker listens, and whether it keeps what an absent persistent session is owed."""

    host: str
    port: int
    persistent_sessions: bool


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where the S3 server listens, and the credentials that may do everything there."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str


@dataclass(frozen=True, slots=True)
class StackState:
    """A running stack: `clusters` maps names to bootstrap addresses, `programs` what runs to its version."""

    clusters: Mapping[str, str]
    mqtt: MqttAddress
    s3: S3Address
    programs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service: `state` is `running`, `starting` (a process, no answer) or `stopped`."""

    name: str
    kind: str
    state: str
    address: str
    pid: int | None


class Ledger:
    """The ports of each service, chosen once and remembered in `<folder>/state.json`.

    Threads of one process may share it; between processes `only_one` keeps order.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"
        self._lock = threading.Lock()
        self._ports: dict[str, dict[str, int]] = self._read()

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            content: Any = json.loads(self._path.read_bytes())
            return {str(s): {str(n): int(p) for n, p in ports.items()} for s, ports in content["ports"].items()}
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, AttributeError, TypeError) as exc:
            raise BadInput(
                f"{self._path} is not a stack's state file: {exc}",
                hint="delete it; new ports will be chosen, the data stays",
            ) from exc

    def services(self) -> list[str]:
        """Names of the services that have ever had a port here, in the order of their first start."""
        with self._lock:
            return list(self._ports)

    def ports(self, service: str, names: tuple[str, ...]) -> dict[str, int]:
        """The remembered ports of a service, choosing free ones for names not seen before."""
        with self._lock:
            if not set(names) <= self._ports.get(service, {}).keys():
                self._ports = self._read()  # another process may have chosen meanwhile
            known = self._ports.get(service, {})
            if not set(names) <= known.keys():
                taken = {port for ports in self._ports.values() for port in ports.values()}
                for name in names:
                    if name not in known:
                        known[name] = _free_port(taken)
                        taken.add(known[name])
                self._ports[service] = known
                self._write()
            return dict(known)

    def forget(self) -> None:
        """Forget every port, so that the next start chooses new ones."""
        with self._lock:
            self._ports = {}
            self._write()

    def _write(self) -> None:
        content = json.dumps({"v": 1, "ports": self._ports}, indent=1)
        replace_durably(self._path, content.encode(), mode=0o600)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now (as servers do: with SO_REUSEADDR)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    for port in random.sample(_PORTS, 500):
        if port not in taken and is_free(port):
            return port
    raise Conflict(f"no free port between {_PORTS.start} and {_PORTS.stop}", hint="stop some servers, then repeat")


@contextmanager
def only_one(path: Path, what: str, *, patience_s: float = 120.0) -> Iterator[None]:
    """Hold an advisory lock on `path` (flock(2): gone with its process); Conflict after `patience_s` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Conflict(
                        f"another command has been {what} for more than {patience_s:.0f} s ({path})",
                        hint="wait for it or end it, then repeat",
                    ) from None
                time.sleep(0.05)
        yield
