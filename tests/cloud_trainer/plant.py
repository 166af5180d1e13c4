"""Simulated pumps as training sets, and what a trained model says of them afterwards."""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field

import numpy as np

from cloud_trainer import parity
from cloud_trainer.making import Made, make
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, TrainingSet, cut, vectors
from headwater.app.plant.simulator import CHANNELS, FAULT_KINDS, Plant, Truth
from headwater.contract.manifest import Dataset

START_MS = 1_763_718_300_000
SITES = ("lyon", "osaka")
Rows = list[tuple[int, dict[str, float]]]


def series(rows: Rows) -> Series:
    """Readings as columns."""
    t = np.array([t for t, _ in rows], dtype=np.int64)
    return Series(t, np.array([[values[c] for c in CHANNELS] for _, values in rows]), np.zeros(len(rows), np.int64))


def training_set(rows: dict[str, Rows]) -> TrainingSet:
    """What the trainer gets from the log."""
    found = {key: series(some) for key, some in rows.items()}
    return TrainingSet("pump", CHANNELS, found, Dataset({}, "", sum(map(len, found.values()))))


def healthy(seed: int, readings: int, pumps: int = 6) -> dict[str, Rows]:
    """Readings of healthy pumps by `site/asset`."""
    plant = Plant(seed, SITES, pumps, START_MS)
    return {f"{s}/{a}": [next(it) for _ in range(readings)] for s, a in plant.assets for it in [plant.readings(s, a)]}


@dataclass
class Outcome:
    """What a campaign counted; delays are in simulated seconds from the fault being visible to the alarm."""

    made: Made
    false_alarms: int = 0
    delays: dict[str, list[float]] = field(default_factory=dict)
    missed: list[Truth] = field(default_factory=list)


def campaign(seed: int, *, learn: int = 1200, watch: int = 1800, after: int = 300) -> Outcome:
    """Train on healthy readings of 12 pumps, watch them healthy, then let a fault begin at each, kinds in turn."""
    plant = Plant(seed, SITES, 6, START_MS)
    rows: dict[str, Rows] = {}
    for number, (site, asset) in enumerate(plant.assets):
        readings = plant.readings(site, asset)
        found = [next(readings) for _ in range(learn + watch)]
        plant.begin_fault(site, asset, FAULT_KINDS[number % 4], found[-1][0])
        rows[f"{site}/{asset}"] = found + [next(readings) for _ in range(after)]
    outcome = Outcome(make(training_set({key: some[:learn] for key, some in rows.items()}), Recipe()))
    for truth in plant.truths():
        _judge(outcome, truth, rows[f"{truth.site}/{truth.asset}"])
    return outcome


def opened(made: Made, key: str, rows: Rows) -> list[int]:
    """Sensor times at which alarms open."""
    trained, recipe = made.trained, made.recipe
    windows = cut(series(rows), CHANNELS, trained.spec.channels, recipe)
    scores = trained.detector.score(vectors(trained.spec, key, windows))[0]
    found = parity.opened(recipe.rule, scores.tolist(), trained.thresholds[key])
    return [int(windows.t_last[number]) for number in found]


def _judge(outcome: Outcome, truth: Truth, rows: Rows) -> None:
    alarms = opened(outcome.made, f"{truth.site}/{truth.asset}", rows)
    assert truth.onset is not None
    outcome.false_alarms += sum(t < truth.onset for t in alarms)
    hits = [t for t in alarms if t >= truth.onset]
    if hits:
        outcome.delays.setdefault(truth.kind, []).append((hits[0] - (truth.visible or hits[0])) / 1000)
    elif truth.visible is not None:
        outcome.missed.append(truth)


def main(first: int, last: int) -> None:
    """Print one table over the seeds [first, last): what was found, how fast, and what was raised for nothing."""
    delays: dict[str, list[float]] = {}
    false_alarms = missed = 0
    for seed in range(first, last):
        outcome = campaign(seed)
        false_alarms += outcome.false_alarms
        missed += len(outcome.missed)
        for kind, found in outcome.delays.items():
            delays.setdefault(kind, []).extend(found)
    print(f"seeds {first} to {last - 1}: {false_alarms} false alarms, {missed} faults missed")
    for kind, found in sorted(delays.items()):
        print(
            f"  {kind:<14} found {len(found):>4}   median {statistics.median(found):6.1f} s   max {max(found):6.1f} s"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
