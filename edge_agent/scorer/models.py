"""Loading a model from this edge's own disk: nothing is run that does not prove itself first.

The bytes of both files are read once; what is hashed is what is loaded. The updater has done all of this before in a
process of its own, but the disk has been written since, and the runtime may be another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.contract import refusals
from headwater.contract.canonical import sha256
from headwater.contract.desired import Wanted, model_folder
from headwater.contract.errors import GateFailed, HeadwaterError
from headwater.contract.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MAX_MODEL_BYTES,
    MODEL_FILE,
    Golden,
    Manifest,
    decode_manifest,
)
from headwater.contract.windows import Cadence, Charge
from headwater.transport.tflite import Model

_SMALLEST = 1e-6  # golden scores below it are compared absolutely
Floats = npt.NDArray[np.float32]


class Id(NamedTuple):
    """A version by the digests of both its files."""

    asset_class: str
    version: int
    sha256: str  # of model.tflite
    manifest_sha256: str

    @classmethod
    def of(cls, asset_class: str, named: Charge | Wanted) -> Id:
        """The version that is in charge of a class, or that is wanted for it."""
        return cls(asset_class, named.version, named.sha256, named.manifest_sha256)


class Rejected(GateFailed):
    """A version that this edge does not run; `reason` is one of headwater/contract/refusals.py."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Loaded:
    """A version that can score."""

    id: Id
    manifest: Manifest
    model: Model
    cadence: Cadence

    @cached_property
    def followed_by(self) -> str:
        """Under what the state of a machine's episodes can be gone on with, "" where thresholds are fixed."""
        if self.manifest.episodes is msgspec.UNSET:
            return ""
        return f"{self.manifest.asset_class}/{self.manifest.episodes_digest()}"


def load(state: Path, wanted: Id) -> Loaded:
    """Load a version from below the state folder; Rejected when it is not what it should be, or does not prove it."""
    folder = state / model_folder(wanted.asset_class, wanted.version)
    name = f"{wanted.asset_class} v{wanted.version}"
    data = _proven(folder / MODEL_FILE, MAX_MODEL_BYTES, wanted.sha256, name)
    manifest = _manifest(_proven(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES, wanted.manifest_sha256, name), wanted)
    model = _model(data, manifest)
    check_golden(manifest.golden, model.score(np.array(manifest.golden.inputs, np.float32))[0], name)
    return Loaded(wanted, manifest, model, Cadence.of(manifest.features))


def check_golden(golden: Golden, scores: Floats, name: str) -> None:
    """Raise Rejected unless `scores` agree with those of the trainer."""
    if not np.isfinite(scores).all():
        raise Rejected(refusals.NOT_FINITE, f"{name}: a golden vector gives {scores[~np.isfinite(scores)][0]}")
    expected = np.array(golden.scores, np.float64)
    apart = np.abs(scores - expected) / np.maximum(np.abs(expected), _SMALLEST)
    if not (apart <= golden.tolerance).all():
        raise Rejected(
            refusals.GOLDEN_MISMATCH,
            f"{name}: a golden score is off by {apart.max():.3g} of itself, at most {golden.tolerance:g} is allowed",
        )


def _proven(path: Path, most: int, digest: str, name: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise Rejected(refusals.NOT_ON_DISK, f"{name}: {path} cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise Rejected(refusals.BAD_LENGTH, f"{name}: {path} has more than {most} bytes")
    if sha256(data) != digest:
        expected = digest or "one that the updater has not recorded yet"
        raise Rejected(refusals.BAD_DIGEST, f"{name}: {path.name} has SHA-256 {sha256(data)}, expected {expected}")
    return data


def _manifest(data: bytes, wanted: Id) -> Manifest:
    name = f"{wanted.asset_class} v{wanted.version}"
    try:
        manifest = decode_manifest(data)
    except HeadwaterError as error:
        raise Rejected(refusals.BAD_MANIFEST, f"{name}: {error}") from error
    found = (manifest.asset_class, manifest.version, manifest.sha256)
    if found != wanted[:3]:
        raise Rejected(refusals.BAD_MANIFEST, f"{name}: the manifest beside it is of {found[0]} v{found[1]} {found[2]}")
    return manifest


def _model(data: bytes, manifest: Manifest) -> Model:
    name = f"{manifest.asset_class} v{manifest.version}"
    try:
        model = Model(data)
    except HeadwaterError as error:
        raise Rejected(refusals.NOT_A_MODEL, f"{name}: {error}") from error
    width, channels = manifest.features.width, len(manifest.features.channels)
    if model.features != width:
        raise Rejected(refusals.NOT_A_MODEL, f"{name}: takes {model.features} features, its manifest says {width}")
    if model.parts % channels:
        raise Rejected(refusals.NOT_A_MODEL, f"{name}: {model.parts} contributions do not fit {channels} channels")
    return model
