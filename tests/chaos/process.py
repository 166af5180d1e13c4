"""The system under test in a process: what it logs is read as it comes, its files may be kept from growing."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

_PLUG = Path(__file__).parent / "plug"


class Life:
    """One run of what is attacked (or of what stands in its place), from its start to its end."""

    def __init__(
        self, argv: list[str], environment: Mapping[str, str], folder: Path, says: str, log: str = "bridge.log"
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        more = {
            "PYTHONPATH": os.pathsep.join((str(_PLUG), str(Path(__file__).parents[2]))),
            "CHAOS_FOLDER": str(folder),
            "HW_SUPERVISOR_PID": str(os.getpid()),  # so that it is killed when we are
        }
        self._log = folder / log
        self._says = says  # what its log says when it is ready; empty: it says nothing
        self.ready = threading.Event()
        self.stops: list[bool] = []  # whether the books balanced, at each clean stop
        # Its log is a pipe: a limit of its files must not be a limit of what it says.
        self._process = subprocess.Popen(
            argv, env=kept | more | dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder
        )
        if not says:
            self.ready.set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._log.open("ab", buffering=0) as log:
            log.write(f"--- process {self._process.pid}\n".encode())
            for line in self._process.stdout:
                log.write(line)
                if self._says and self._says.encode() in line:
                    self.ready.set()
                elif b'"bridge stopped"' in line and line.endswith(b"\n"):
                    self.stops.append(bool(json.loads(line)["balanced"]))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """SIGKILL, also when it has ended."""
        self._process.kill()
        self.join()

    def send(self, number: signal.Signals) -> None:
        """A signal; nothing when it has ended."""
        self._process.send_signal(number)

    def join(self) -> int:
        """Its exit status, with its log read to the end."""
        status = self._process.wait()
        self._reader.join(10)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

    async def ends(self, within_s: float) -> bool:
        """Whether it ends in time."""
        return await wait(lambda: self.status is not None, within_s)

    async def stop(self, within_s: float) -> int | None:
        """SIGTERM; its exit status, or None when it had to be killed."""
        self._process.terminate()
        if await self.ends(within_s):
            return self.join()
        self.kill()
        return None

    def files(self, most_bytes: int | None) -> None:
        """Let no file of it grow beyond that many bytes; None: as large as it likes. setrlimit(2), EFBIG."""
        if self.status is None:
            most = resource.RLIM_INFINITY if most_bytes is None else most_bytes
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def bridge_command() -> list[str]:
    """What the edge's supervisor runs."""
    return [sys.executable, "-m", "edge_agent", "bridge"]


async def wait(condition: Callable[[], object], within_s: float) -> bool:
    """Whether a condition comes true in time."""
    end = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.01)
    return True
