"""A thousand sites' scaling and thresholds on one network, by each runner."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.retrain import yardstick
from bench.retrain.assets import some_of, thousand
from cloud_trainer.making import Made, make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.running.runner import Kind, open_runner
from cloud_trainer.running.sites import calibrate, numbered
from cloud_trainer.series import TrainingSet
from headwater.contract.canonical import sha256
from headwater.contract.manifest import Manifest

NETWORK_OF = 24  # assets that the network of the class is trained on
Say = Callable[[str], None]


@dataclass(frozen=True)
class Counted:
    """One way to do it: wall times with the start of the workers, how long until the first result, digests."""

    name: str
    seconds: tuple[float, ...]
    first: float
    digest: str
    assets: int


@dataclass(frozen=True)
class Thousand:
    """All of them, on the same readings."""

    sites: int
    readings: int
    of: str
    ways: list[Counted]
    ray: str  # why it was not asked, if it was not


def measure(sites: int, rows: int, rounds: int, workers: int, data: Path | None, say: Say) -> Thousand:
    """Make readings and a network, then measure each runner on them."""
    recipe = Recipe()
    with open_runner("pool", workers) as runner:
        learn = thousand(sites, rows, data, runner)
    say(f"{learn.source.records:,} readings of {sites:,} sites; a network from the first {NETWORK_OF}")
    made = make(some_of(learn, NETWORK_OF), recipe)
    base = make_manifest("bench", 1, made)
    has_ray = importlib.util.find_spec("ray") is not None
    asked: list[tuple[str, Kind, int]] = [("pool", "pool", workers), ("one process", "pool", 1)]
    asked += [("Ray", "ray", workers)] if has_ray else []
    ways = [_way(name, kind, count, rounds, base, made, learn, recipe, say) for name, kind, count in asked]
    alone = tuple(yardstick.seconds(learn, recipe, workers) for _ in range(rounds))
    say(f"joblib and scikit-learn: {min(alone):.1f} s")
    ways.append(Counted("joblib and scikit-learn, a model a site", alone, 0.0, "", sites))
    of = "simulated pumps" if data is None else f"recordings of {data.name}, replayed with other gains and offsets"
    return Thousand(sites, learn.source.records, of, ways, "" if has_ray else "Ray is not installed: make test-ray")


def _way(
    name: str,
    kind: Kind,
    workers: int,
    rounds: int,
    base: Manifest,
    made: Made,
    learn: TrainingSet,
    recipe: Recipe,
    say: Say,
) -> Counted:
    took, digests, assets = [], set(), 0
    done: list[float] = []

    def note(_count: int) -> None:
        done.append(time.perf_counter())

    for _ in range(rounds):
        done.clear()
        began = time.perf_counter()
        with open_runner(kind, workers) as runner:
            found = calibrate(base, made.model, learn, recipe, runner, tell=note)
            manifest = numbered(found, 2, "bench")
            data = manifest.encode()
            took.append(time.perf_counter() - began)
        # The date is the only thing that may differ.
        digests.add(sha256(data.replace(manifest.created_at.encode(), b"")))
        assets = len(manifest.thresholds) - 1
    say(f"{name}: {min(took):.1f} s, {assets:,} assets")
    return Counted(name, tuple(took), done[0] - began, " ".join(sorted(digests)), assets)
