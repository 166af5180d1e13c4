"""Memory of an edge: proportional set size, so that what processes share is counted once."""

from __future__ import annotations

from pathlib import Path

import psutil


def proportional_mb(pid: int) -> float:
    """PSS of a process and its descendants in MB (10^6 bytes), from /proc/<pid>/smaps_rollup; 0.0 if it is gone."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_pss_kb(process.pid) for process in family) * 1024 / 1e6


def _pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended meanwhile
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
