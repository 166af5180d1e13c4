"""Recordings of a made-up rig in SKAB's layout: healthy, then a fault, then healthy at another place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

ROWS = 900
FAULT = (560, 760)
CHANNELS = ("speed", "flow", "warmth")  # the last one wanders by itself


def record(path: Path, seed: int, *, fault: bool = True, labels: bool = True, rows: int = ROWS) -> None:
    """One recording; a row a second."""
    dice = np.random.default_rng(seed)
    values = dice.normal(size=(rows, 3)) * (1, 0.5, 0.02) + (50, 30, 20)
    values[:, 2] += np.cumsum(dice.normal(size=rows)) * 0.1
    is_fault = np.zeros(rows, dtype=bool)
    if fault:
        is_fault[FAULT[0] : FAULT[1]] = True
        values[is_fault, :2] += (8, -3)
        values[FAULT[1] :, 0] += 2.0
    changes = np.zeros(rows, dtype=int)
    if fault:
        changes[list(FAULT)] = 1
    head = ["datetime", *CHANNELS, *(("anomaly", "changepoint") if labels else ())]
    lines = [";".join(head)]
    for n, row in enumerate(values):
        time = f"2020-03-09 10:{n // 60 % 60:02d}:{n % 60:02d}"
        more = [str(float(is_fault[n])), str(float(changes[n]))] if labels else []
        lines.append(";".join([time, *(f"{v:.4f}" for v in row), *more]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
