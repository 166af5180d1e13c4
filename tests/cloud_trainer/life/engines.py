"""Made-up engines that wear out: two regimes, four sensors of which three move, one fault."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from cloud_trainer.life.histories import Fleet, History

SENSORS = ("hot", "still", "fast", "rough")


def fleet(count: int, seed: int, *, regimes: int = 2, shortest: int = 60, longest: int = 140) -> Fleet:
    """Engines whose sensors bend away as wear grows, each at its own pace, under noise of the same size."""
    rng = np.random.default_rng(seed)
    histories = []
    for _ in range(count):
        cycles = int(rng.integers(shortest, longest))
        regime = rng.integers(0, regimes, cycles)
        wear = np.linspace(0, 1, cycles) ** 2
        noise = rng.normal(size=(cycles, 3))
        hot = 500 + 100 * regime + 8 * wear + 2 * noise[:, 0]
        fast = 50 - 20 * regime - 3 * wear + 0.5 * noise[:, 1]
        rough = 1 + regime + wear + 0.3 * noise[:, 2]
        settings = np.stack([regime * 25.0 + 0.01 * rng.normal(size=cycles), np.full(cycles, 3.0)], axis=1)
        histories.append(History(settings, np.stack([hot, np.full(cycles, 7.0), fast, rough], axis=1)))
    return Fleet(("height", "kind"), SENSORS, histories)


def write(folder: Path, name: str, lives: Fleet, *, part: str) -> list[int]:
    """The fleet as a file of a C-MAPSS folder; for `test` each engine is cut off, and what it had left is returned."""
    left, lines = [], []
    for number, history in enumerate(lives.histories, 1):
        whole = len(history.sensors)
        cycles = whole if part == "train" else whole - 5 * (number % 9 + 1)
        left.append(whole - cycles)
        for cycle in range(cycles):
            values = (*history.settings[cycle], 100.0, *history.sensors[cycle], *[1.0] * (21 - len(lives.sensors)))
            lines.append(" ".join(map(str, (number, cycle + 1, *values))) + "  \n")
    (folder / f"{part}_{name}.txt").write_text("".join(lines))
    return left


def write_lives(folder: Path, lives: Fleet, name: str = "engine") -> Path:
    """Each engine as a recording, `NAME-1.csv` and so on: a row an hour, up to its failure."""
    folder.mkdir(parents=True, exist_ok=True)
    header = ";".join(("datetime", *lives.settings, *lives.sensors))
    for number, history in enumerate(lives.histories, 1):
        rows = np.concatenate([history.settings, history.sensors], axis=1)
        begin = datetime(2026, 1, 1, tzinfo=UTC)
        lines = [
            f"{begin + timedelta(hours=cycle):%Y-%m-%d %H:%M:%S};" + ";".join(f"{value:.6g}" for value in row)
            for cycle, row in enumerate(rows)
        ]
        (folder / f"{name}-{number}.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder
