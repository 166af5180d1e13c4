"""Models of remaining life for tests, written as the trainer writes them."""

from __future__ import annotations

import numpy as np
from msgspec import structs

from cloud_trainer.life.export import export
from cloud_trainer.life.network import Network
from headwater.contract.alarm import AlarmRule
from headwater.contract.arrival import Arrival
from headwater.contract.canonical import sha256
from headwater.contract.features import FeatureSpec
from headwater.contract.life import LifeSpec
from headwater.contract.manifest import Golden, Manifest
from headwater.contract.memory import Memory
from headwater.contract.messages import Score
from headwater.transport.tflite import Model
from tests.contract.lives import SENSORS, features, memory
from tests.edge_agent.scorer import models

LIFE = LifeSpec(125.0, 30.0, (60.0,), (-8.0, -12.0), (9.0, 14.0))
CLASS = "engine"


def make(version: int, seed: int, life: LifeSpec = LIFE, sensors: tuple[str, ...] = SENSORS) -> tuple[bytes, Manifest]:
    """Five cycles are lost with each, by the age alone, and a little by what the sensors say; the map is of `seed`."""
    spec = features(memory(seed, sensors))
    weights = np.full((spec.width, 1), 0.002, np.float32)
    weights[spec.names.index("log_age")] = 0.0
    weights[spec.names.index("age")] = -4.0
    network = Network((weights,), (np.ones(1, np.float32),), life.most)
    data = export(network, len(spec.channels))
    rng = np.random.default_rng(version)
    inputs = rng.normal(0.1, 0.02, (4, spec.width)).astype(np.float32)
    scores = Model(data).score(inputs)[0]
    _, base = models.make(version, asset_class=CLASS)
    manifest = structs.replace(
        base,
        sha256=sha256(data),
        size_bytes=len(data),
        features=spec,
        features_digest=spec.digest(),
        thresholds={"": life.threshold},
        alarm=AlarmRule(open_after=2, close_after=3, recovery=0.9),
        golden=Golden(inputs.tolist(), [float(score) for score in scores]),
        life=life,
    )
    manifest.check()
    return data, manifest


def retold(data: bytes, spec: FeatureSpec, lived: list[Arrival], life: LifeSpec = LIFE) -> tuple[float, ...]:
    """Score, remaining, low and high after these cycles, computed as the trainer computes them: in one go."""
    of = spec.memory
    assert of
    stepped = Memory(of)
    for one in lived:
        row = np.array([[one.reading.values.get(name) for name in of.settings + of.sensors]], np.float64)
        vector = stepped.step(row[:, : len(of.settings)], row[:, len(of.settings) :])
    score = float(Model(data).score(vector)[0][0])
    left = life.remaining(np.array([score]))
    low, high = life.of(left)
    return score, float(left[0]), float(low[0]), float(high[0])


def told(score: Score) -> tuple[object, ...]:
    """The same of a score that the edge wrote."""
    return score.score, score.remaining, score.low, score.high
