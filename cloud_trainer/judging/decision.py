"""What was decided, as a record: which models, on what, by which code, the figures, and why.

The record goes beside the challenger as `judge.json`, and to `training-runs` as a run of the state `judged`, with an id
of its own. Its name is the SHA-256 of its canonical JSON.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from cloud_trainer.tracing.models import Model
from headwater.contract.canonical import canonical_json, digest, sha256
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Dataset
from headwater.contract.messages import TrainingRun

JUDGE_FILE = "judge.json"
Verdict = Literal["promote", "keep", "undecided"]


class Party(msgspec.Struct, frozen=True):
    """One of the two models."""

    version: int
    sha256: str  # of the .tflite
    manifest_sha256: str
    algorithm: str


def party(model: Model) -> Party:
    """A model as a decision names it."""
    manifest = model.manifest
    return Party(manifest.version, manifest.sha256, sha256(model.manifest_bytes), manifest.algorithm)


class Figure(msgspec.Struct, frozen=True):
    """A figure of both models and their difference (challenger less champion) with its interval.

    None: not defined, such as a share of faults where there was none.
    """

    champion: float | None
    challenger: float | None
    champion_interval: tuple[float, float] | None
    challenger_interval: tuple[float, float] | None
    difference: float | None
    difference_interval: tuple[float, float] | None


class Part(msgspec.Struct, frozen=True):
    """The main figure on one asset, or on one slice, with an interval that allows for how many parts are looked at."""

    name: str
    readings: int
    figure: Figure


class Decision(msgspec.Struct, frozen=True):
    """The verdict of champion against challenger. Times in ms of Unix time; intervals are of `confidence`."""

    asset_class: str
    champion: Party
    challenger: Party
    dataset: Dataset
    labels_sha256: str
    readings: int  # that both judged
    blocks: int
    block_readings: int
    units: Literal["assets", "blocks"]  # that intervals of `figures` are from; those of false alarms are from blocks
    confidence: float
    main: str  # the figure that decides
    figures: dict[str, Figure]
    assets: list[Part]
    slices: list[Part]
    verdict: Verdict
    reasons: list[str]
    code: dict[str, str]
    decided_at: int
    notes: list[str] = []  # what was not judged, and warnings of data checks
    kind: Literal["decision"] = "decision"
    v: int = 1

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, by which others name the decision."""
        return digest(self)

    def as_run(self) -> TrainingRun:
        """What is written to `training-runs`."""
        name = self.digest()
        return TrainingRun(
            f"judge-{self.asset_class}-{name[:16]}",
            self.asset_class,
            "judged",
            self.decided_at,
            version=self.challenger.version,
            sha256=self.challenger.sha256,
            dataset_sha256=self.dataset.sha256,
            records=self.readings,
            detail=f"{self.verdict}: {'; '.join(self.reasons)}",
            judge=msgspec.to_builtins(self),
        )


def decode_decision(data: bytes) -> Decision:
    """A decision; BadInput for anything else."""
    try:
        found = msgspec.json.decode(data, type=Decision)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"not a decision of the judge: {error}") from error
    if found.v != 1:
        raise BadInput("a decision of an unknown version", hint="update this program")
    return found


def decide(
    main: str, figures: dict[str, Figure], parts: list[Part], doubts: list[str], *, is_labelled: bool
) -> tuple[Verdict, list[str]]:
    """The verdict and its reasons, from the intervals of differences alone.

    `promote` only where the main figure is better beyond chance, false alarms are not worse beyond chance, no asset or
    slice is worse beyond chance, and there are no `doubts` about the range itself. `keep` where the main figure or
    false alarms are worse beyond chance. Without labels nothing tells whether a model finds more, and a deaf one is
    not promoted for its silence.
    """
    worse_false = _worse_false_alarms(figures, is_labelled=is_labelled)
    if not is_labelled:
        unknown = "no faults are known in this range, so that nothing says which one finds more"
        return ("keep", [worse_false, unknown]) if worse_false else ("undecided", [unknown])
    interval = figures[main].difference_interval
    if interval is None:
        return "undecided", [f"{main} is not defined for both on this range"]
    low, high = interval
    said = f"{main} differs by {figures[main].difference:+.3f} ({low:+.3f} to {high:+.3f})"
    if high < 0:
        return "keep", [f"{said}: worse beyond chance", *([worse_false] if worse_false else [])]
    if worse_false:
        return "keep", [worse_false, said]
    if low <= 0:
        return "undecided", [f"{said}: chance explains it"]
    worse = [part.name for part in parts if _is_below(part.figure)]
    if worse:
        return "undecided", [f"{said}: better beyond chance, but worse beyond chance on {', '.join(worse)}"]
    if doubts:
        return "undecided", [f"{said}: better beyond chance", *doubts]
    return "promote", [f"{said}: better beyond chance"]


def _worse_false_alarms(figures: dict[str, Figure], *, is_labelled: bool) -> str:
    name = "false_alarm_rate" if is_labelled else "alarms_per_week"
    interval = figures[name].difference_interval
    if interval is None or interval[0] <= 0:
        return ""
    return f"{name} grows by {figures[name].difference:.4g} ({interval[0]:+.4g} to {interval[1]:+.4g}), beyond chance"


def _is_below(figure: Figure) -> bool:
    return figure.difference_interval is not None and figure.difference_interval[1] < 0
