"""The manifest that travels with a model: what it is, what it learned from, how to prove it runs."""

from __future__ import annotations

from typing import Any

import msgspec

from headwater.contract.alarm import AlarmRule
from headwater.contract.canonical import canonical_json, digest
from headwater.contract.errors import BadInput
from headwater.contract.features import CLASS_WIDE, FeatureSpec
from headwater.contract.following import EpisodeSpec
from headwater.contract.life import LifeSpec
from headwater.contract.names import check_name

MAX_MODEL_BYTES = 16 << 20
MAX_MANIFEST_BYTES = 4 << 20
MAX_TOLERANCE = 1e-3  # float32 runtimes differ by 1e-6; what is more would let another model pass for this one
_SAME = 1e-6  # of the most cycles: as far as a threshold may be from what warns
LEAST_CERTIFIED = 10_000  # windows that a certificate is over: fewer prove nothing
MODEL_FILE = "model.tflite"
MANIFEST_FILE = "manifest.json"


class Dataset(msgspec.Struct, frozen=True):
    """An exact range of the log: per topic and partition [start, end) and the SHA-256 of what is in it."""

    offsets: dict[str, dict[str, tuple[int, int]]]
    sha256: str
    records: int
    excluded: dict[str, int] = {}  # records left out, by reason


class Golden(msgspec.Struct, frozen=True):
    """Feature vectors with the scores that the trainer computed; a runtime must agree within `tolerance` (relative)."""

    inputs: list[list[float]]
    scores: list[float]
    tolerance: float = 1e-5


class Certificate(msgspec.Struct, frozen=True):
    """What a runtime of the edge computed from replayed windows, held against what training computed.

    Differences of scores are relative; `flips` counts windows after which an alarm was open in one but not the other.
    """

    runtime: str  # its class: name, version and machine
    windows: int
    worst: float
    p999: float  # the difference that one window in a thousand exceeds
    flips: int
    model_sha256: str
    data_sha256: str  # of the vectors and thresholds that were replayed


class Manifest(msgspec.Struct, frozen=True):
    """One version of a model of an asset class. Unknown fields are ignored, so that old edges outlive new clouds."""

    asset_class: str
    version: int
    sha256: str  # of the .tflite
    size_bytes: int  # of the .tflite
    features: FeatureSpec
    features_digest: str
    thresholds: dict[str, float]  # keyed as the scaling is: `site/asset`, "" for the class
    alarm: AlarmRule
    golden: Golden
    dataset: Dataset
    created_at: str  # ISO 8601, UTC
    request_id: str
    algorithm: str
    parity: dict[str, float] = {}  # runtime class: largest relative difference of a score
    metrics: dict[str, Any] = {}
    certificates: tuple[Certificate, ...] = ()
    v: int = 1
    code: dict[str, str] = {}  # version, commit and digest of the sources that made it
    episodes: EpisodeSpec | msgspec.UnsetType = msgspec.UNSET  # without it `alarm` decides, with fixed thresholds
    life: LifeSpec | msgspec.UnsetType = msgspec.UNSET  # with features that have a memory, and only with them

    def check(self) -> None:
        """Raise BadInput unless the parts fit each other."""
        check_name(self.asset_class, "asset class")
        self.features.check()
        self.alarm.check()
        if self.v != 1:
            raise BadInput(f"manifest of version {self.v}, this agent knows 1", hint="update the agent")
        if self.features.digest() != self.features_digest:
            raise BadInput("features_digest is not the digest of the feature specification")
        if self.version < 1 or not 0 < self.size_bytes <= MAX_MODEL_BYTES:
            raise BadInput(f"version {self.version} or size {self.size_bytes} bytes is out of bounds")
        if CLASS_WIDE not in self.thresholds or not all(0 < t < 1e30 for t in self.thresholds.values()):
            raise BadInput("thresholds lack the class-wide one, or are not positive")
        width = self.features.width
        if not self.golden.inputs or len(self.golden.inputs) != len(self.golden.scores):
            raise BadInput("golden vectors are missing")
        if not 0 <= self.golden.tolerance <= MAX_TOLERANCE:
            raise BadInput(f"golden tolerance {self.golden.tolerance:g} is not between 0 and {MAX_TOLERANCE:g}")
        if any(len(row) != width for row in self.golden.inputs):
            raise BadInput(f"golden vectors do not have {width} features")
        if self.episodes is not msgspec.UNSET:
            self.episodes.check(len(self.features.channels))
        self._check_life()

    def _check_life(self) -> None:
        has_memory = self.features.memory is not msgspec.UNSET
        if has_memory != (self.life is not msgspec.UNSET):
            raise BadInput("a model of remaining life needs features with memory, and no other model takes them")
        if self.life is msgspec.UNSET:
            return
        self.life.check()
        if self.episodes is not msgspec.UNSET:
            raise BadInput("a model of remaining life has no episodes to follow a machine by")
        if abs(self.thresholds[CLASS_WIDE] - self.life.threshold) > _SAME * self.life.most:
            raise BadInput(f"the class-wide threshold is not {self.life.most:g} less {self.life.warn:g} cycles")

    def threshold_of(self, asset_key: str) -> float:
        """Threshold of `site/asset`, or the class-wide one."""
        return self.thresholds.get(asset_key) or self.thresholds[CLASS_WIDE]

    def episodes_digest(self) -> str:
        """Under which state an asset's episodes can be gone on with: features, calibration and rule."""
        return digest({"features": self.features_digest, "episodes": self.episodes})

    def certified(self) -> tuple[str, ...]:
        """Classes of the runtimes that are certified for this very model, over enough windows and without a flip."""
        return tuple(
            each.runtime
            for each in self.certificates
            if each.model_sha256 == self.sha256 and each.windows >= LEAST_CERTIFIED and each.flips == 0
        )

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)


def decode_manifest(data: bytes) -> Manifest:
    """A manifest that passed `check`; BadInput otherwise."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise BadInput(f"manifest of {len(data)} bytes, at most {MAX_MANIFEST_BYTES}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"not a manifest: {error}") from error
    manifest.check()
    return manifest


def model_path(asset_class: str, version: int, file: str) -> str:
    """Name of a signed target: `models/pump/3/model.tflite`."""
    return f"models/{check_name(asset_class, 'asset class')}/{version}/{file}"
