"""What a process costs: CPU and memory of it and its descendants, sampled from outside."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np

_PERIOD_S = 0.005
_FAMILY_EVERY = 40  # periods between two looks for children
_PAGE = 4096
_SCHED = 2  # CPUCLOCK_SCHED, the clock of clock_getcpuclockid(3): nanoseconds of all threads, user and system


class Meter:
    """Samples `pid` and its descendants every 5 ms while it is entered; the questions are for afterwards."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._family = [pid]
        self._rows: list[tuple[float, float, float]] = []  # Unix time in s, CPU in s, resident bytes
        self._peaks: dict[int, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Meter:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the process must still live."""
        self._stop.set()
        self._thread.join()
        for pid in self._family:
            self._peaks[pid] = _status_kb(pid, "VmHWM:")

    def _run(self) -> None:
        count = 0
        while not self._stop.wait(_PERIOD_S):
            if count % _FAMILY_EVERY == 0:
                self._family = _family(self._pid)
            count += 1
            with suppress(OSError):  # it ended meanwhile
                cpu = sum(time.clock_gettime((~pid << 3) | _SCHED) for pid in self._family)
                self._rows.append((time.time(), cpu, sum(_resident(pid) for pid in self._family)))

    def cpu_s(self, begin_s: float, end_s: float) -> float:
        """CPU seconds, user and system, between two instants of Unix time."""
        times, cpu, _ = np.array(self._rows).T
        return float(np.interp(end_s, times, cpu) - np.interp(begin_s, times, cpu))

    @property
    def peak_mb(self) -> float:
        """Highest resident size so far as the kernel keeps it (VmHWM), in MB of 10^6 bytes."""
        return sum(self._peaks.values()) * 1024 / 1e6

    def growth_mb(self, begin_s: float, end_s: float) -> float:
        """Highest resident size between two instants, less that at the first, in MB of 10^6 bytes."""
        times, _, resident = np.array(self._rows).T
        inside = resident[(times >= begin_s) & (times <= end_s)]
        return float((inside.max() - inside[0]) / 1e6) if len(inside) else 0.0


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE


def _status_kb(pid: int, field: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
    return 0
