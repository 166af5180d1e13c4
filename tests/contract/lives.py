"""Features with memory, manifests of remaining life and cycles of machines, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import structs

from headwater.contract.alarm import AlarmRule
from headwater.contract.features import FeatureSpec
from headwater.contract.life import LifeSpec
from headwater.contract.manifest import Manifest
from headwater.contract.memory import MemorySpec, Regime
from headwater.contract.reading import Reading

SETTINGS = ("load",)
SENSORS = ("a", "b", "c")
LIFE = LifeSpec(125.0, 30.0, (20.0, 80.0), (-5.0, -10.0, -20.0), (6.0, 12.0, 15.0))


def memory(seed: int = 0, sensors: tuple[str, ...] = SENSORS, **more: Any) -> MemorySpec:
    """Two regimes told apart by the load, with maps of this seed."""
    rng = np.random.default_rng(seed)
    regimes = tuple(
        Regime(
            (float(number),),
            tuple(rng.normal(size=len(sensors)).tolist()),
            tuple(rng.uniform(1, 2, len(sensors)).tolist()),
            tuple(tuple(row) for row in rng.normal(size=(len(sensors), 2)).tolist()),
            (1.0, 0.5 + number),
        )
        for number in range(2)
    )
    return MemorySpec(SETTINGS, sensors, (1.0,), regimes, **{"means": (1, 4), "baselines": (3, 6), **more})


def features(of: MemorySpec | None = None) -> FeatureSpec:
    """Features of remaining life."""
    of = of or memory()
    return FeatureSpec(of.settings + of.sensors, 1, 1, {}, memory=of)


def of_life(manifest: Manifest, spec: FeatureSpec | None = None, life: LifeSpec = LIFE) -> Manifest:
    """A manifest made one of remaining life; its golden vectors are of its features, its .tflite is not looked at."""
    spec = spec or features()
    width = spec.width
    golden = structs.replace(manifest.golden, inputs=[[0.5] * width], scores=[40.0])
    rule = AlarmRule(open_after=2, close_after=2, recovery=0.9)
    return structs.replace(
        manifest,
        features=spec,
        features_digest=spec.digest(),
        life=life,
        golden=golden,
        thresholds={"": life.threshold},
        alarm=rule,
    )


def cycle(number: int, load: float | None = 0.1, missing: str = "") -> Reading:
    """What a machine says after a cycle of work; `missing`: a sensor without a value, or all."""
    rng = np.random.default_rng(number)
    values: dict[str, float | None] = {name: round(float(rng.normal()), 4) for name in SENSORS}
    values["load"] = load
    for name in SENSORS if missing == "all" else (missing,) if missing else ():
        values[name] = None
    return Reading(3_600_000 * number, values)
