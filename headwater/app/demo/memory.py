"""Memory of an edge: proportional set size, so that what processes share is counted once."""

from __future__ import annotations

from pathlib import Path

import psutil


def proportional_mb(pid: int) -> float | None:
    """PSS of a process and its descendants in MB (10^6 bytes), by /proc/<pid>/smaps_rollup; None if unreadable."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    total_kb = sum(_pss_kb(process.pid) for process in family)
    return total_kb * 1024 / 1e6 if _pss_kb(pid) else None


def _pss_kb(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it ended meanwhile
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)
