"""Recordings of simulated rigs as files: load goes up and down, and in the end a fault lets vibration grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from cloud_trainer.datasets.building import from_folder
from cloud_trainer.local import write
from cloud_trainer.making import make
from cloud_trainer.recipe import Recipe

START = datetime(2026, 3, 9, 10, 0, 0, tzinfo=UTC)
FAULT = 0.75  # share of a recording after which its fault begins


def write_rigs(
    folder: Path, *, rigs: int, rows: int, fault: float = 0.0, labels: bool = False, drift: float = 0.0, seed: int = 0
) -> Path:
    """`rig-0.csv`, …: one row a second. `fault` and `drift` are in standard deviations of the vibration."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(rigs):
        rng = np.random.default_rng((seed, number))
        t = np.arange(rows)
        load = 50 + 10 * np.sin(t / 60 + number) + rng.normal(0, 1, rows)
        bad = t >= rows * FAULT
        vibration = 2 + 0.02 * load + rng.normal(0, 0.1, rows) + 0.1 * fault * bad + 0.1 * drift * t / rows
        lines = ["datetime;load;vibration" + (";anomaly" if labels else "")]
        for i in range(rows):
            when = (START + timedelta(seconds=i)).strftime("%Y-%m-%d %H:%M:%S")
            label = f";{int(bad[i] and fault > 0)}" if labels else ""
            lines.append(f"{when};{load[i]:.4f};{vibration[i]:.4f}{label}")
        (folder / f"rig-{number}.csv").write_text("\n".join(lines) + "\n")
    return folder


def train_rigs(
    folder: Path, out: Path, *, rows: int | None = None, recipe: Recipe | None = None, request_id: str = "rigs"
) -> Path:
    """A model of the class `rig` from the first `rows` of recordings of the site `lab`, in the folder `out`."""
    write(make(from_folder(folder, "rig", "lab", rows), recipe or Recipe()), request_id, 1, out)
    return out
