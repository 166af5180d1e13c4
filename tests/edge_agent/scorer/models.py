"""Small models for tests, written as the trainer writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cloud_trainer.export import export
from edge_agent.scorer.models import Id
from headwater.contract.alarm import AlarmRule
from headwater.contract.canonical import sha256
from headwater.contract.desired import Desired, Wanted, model_folder
from headwater.contract.features import FeatureSpec, Scaling
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Certificate, Dataset, Golden, Manifest
from headwater.transport.tflite import Model

CLASS = "pump"
CHANNELS = ("flow", "current")


def features(window: int = 8, step: int = 3, channels: tuple[str, ...] = CHANNELS, **more: Any) -> FeatureSpec:
    scaling = Scaling((0.0,) * len(channels), (1.0,) * len(channels))
    return FeatureSpec(channels, window, step, {"": scaling}, **more)


def make(
    version: int, spec: FeatureSpec | None = None, *, spoilt: bool = False, seed: int = 0, asset_class: str = CLASS
) -> tuple[bytes, Manifest]:
    """The .tflite and the manifest of a version; `spoilt` gives NaN though its golden scores say otherwise."""
    spec = spec or features()
    width = 2 * len(spec.channels)
    rng = np.random.default_rng(1000 * version + seed)
    weights = rng.normal(0, 0.5, (width, width)).astype(np.float32)
    good = export(weights, np.zeros(width, np.float32))
    inputs = rng.normal(0, 1, (4, width)).astype(np.float32)
    scores, _ = Model(good).score(inputs)
    data = export(weights * np.float32("nan"), np.zeros(width, np.float32)) if spoilt else good
    manifest = Manifest(
        asset_class=asset_class,
        version=version,
        sha256=sha256(data),
        size_bytes=len(data),
        features=spec,
        features_digest=spec.digest(),
        thresholds={"": 1.5},
        alarm=AlarmRule(open_after=2, close_after=2, recovery=0.9),
        golden=Golden(inputs.tolist(), [float(score) for score in scores]),
        dataset=Dataset({}, "0" * 64, 0),
        created_at="2026-01-01T00:00:00Z",
        request_id="test",
        algorithm="linear",
        certificates=(Certificate("tests/1/any", 10_000, 0.0, 0.0, 0, sha256(data), "0" * 64),),
    )
    manifest.check()
    return data, manifest


def place(state: Path, data: bytes, manifest: Manifest) -> Manifest:
    """Put a version where the updater puts it."""
    folder = state / model_folder(manifest.asset_class, manifest.version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(data)
    (folder / MANIFEST_FILE).write_bytes(manifest.encode())
    return manifest


def lenient(manifest: Manifest) -> Manifest:
    """The same, but for thresholds that no score reaches: a manifest that passes every check of its content."""
    return msgspec.structs.replace(manifest, thresholds=dict.fromkeys(manifest.thresholds, 1e9))


def wanted(manifest: Manifest, generation: int, placed_at: int = 0) -> Wanted:
    digest = sha256(manifest.encode())
    return Wanted(manifest.version, manifest.sha256, generation, placed_at, "disk", "rollout-1", manifest_sha256=digest)


def id_of(manifest: Manifest) -> Id:
    """The version with this manifest, to the byte."""
    return Id.of(manifest.asset_class, wanted(manifest, 0))


def desire(state: Path, *manifests: Manifest, generation: int = 1, placed_at: int = 0) -> None:
    """Replace desired.json as the updater does."""
    desired = Desired(
        classes={m.asset_class: wanted(m, generation, placed_at) for m in manifests},
        generations={m.asset_class: generation for m in manifests},
    )
    new = state / ".desired.new"
    new.write_bytes(desired.encode())
    new.replace(state / "desired.json")
