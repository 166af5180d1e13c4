"""Recordings written by tests, in the layout of headwater/transport/recordings.py."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 3, 9, 10, 0, 0, tzinfo=UTC)
CHANNELS = ("flow", "current", "pressure")


def rows(count: int, seed: int) -> list[list[str]]:
    """Times a second apart and noisy values, no two alike."""
    rng = random.Random(seed)
    return [
        [f"{START + timedelta(seconds=n):%Y-%m-%d %H:%M:%S}", *(f"{rng.gauss(10 * (i + 1), 1):.4f}" for i in range(3))]
        for n in range(count)
    ]


def write(path: Path, lines: list[list[str]], header: tuple[str, ...] = ("datetime", *CHANNELS)) -> None:
    """One recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(";".join(line) for line in [list(header), *lines]) + "\n")


def folder(path: Path, count: int = 200, files: int = 3) -> Path:
    """Some recordings: `rig-1.csv` and so on."""
    for number in range(1, files + 1):
        write(path / f"rig-{number}.csv", rows(count, number))
    return path
