"""A card as JSON-able values: what the model was made from, what it was seen to do, what it cannot see."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from cloud_trainer.cards.evidence import Evidence
from cloud_trainer.cards.life import Predictions
from cloud_trainer.judging import counts
from cloud_trainer.judging.decision import JUDGE_FILE, decode_decision
from cloud_trainer.judging.material import FAULT
from cloud_trainer.judging.seen import shared
from cloud_trainer.tracing.models import Model
from cloud_trainer.tracing.words import explained
from headwater.contract.features import CLASS_WIDE
from headwater.contract.manifest import Manifest
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.code_version import code_version
from headwater.transport.files import read_named

LARGE_DRIFT = 0.25
_MOST_NAMED = 8


def facts(
    evidence: Evidence, life: Predictions | None, request: RetrainRequest | None, run: TrainingRun | None
) -> dict[str, Any]:
    """Everything on the card but its pictures."""
    model, material = evidence.model, evidence.material
    told = judged_beside(model, explained(model, request, run))
    source = material.learn.source
    return {
        "kind": "model-card",
        "v": 1,
        "model": told,
        "trained_on": learned_from(model.manifest),
        "seen_on": {
            "dataset": msgspec.to_builtins(source),
            "labels_sha256": material.labels_sha256,
            "assets": len(evidence.assets),
            "readings": sum(len(one.series) for one in evidence.assets),
            "readings_counted": sum(int(one.use.sum()) for one in evidence.assets),
            "is_training_data": source.sha256 == model.manifest.dataset.sha256,
            "trained_on": shared(model, source, material.skipped),
        },
        "units": evidence.units,
        "figures": {
            name: {"value": value, "interval": interval} for name, (value, interval) in evidence.figures.items()
        },
        "alarms": {
            "episodes": evidence.alarms,
            "labels_known": evidence.alarms_known,
            "labels_known_share": evidence.alarms_known / evidence.alarms if evidence.alarms else None,
        },
        "remaining_life": life.figures if life is not None else None,
        "drift": _drift(evidence),
        "cannot_see": cannot_see(evidence),
        "made_by": code_version(),
    }


def judged_beside(model: Model, told: dict[str, Any]) -> dict[str, Any]:
    """The same with the judge's decision that lies beside the model, if one does."""
    if model.folder is None or not (model.folder / JUDGE_FILE).exists():
        return told
    decision = decode_decision(read_named(model.folder / JUDGE_FILE, 16 << 20))
    judge = {"sha256": decision.digest(), "verdict": decision.verdict, "reasons": decision.reasons}
    return {**told, "judge": judge}


def learned_from(manifest: Manifest) -> list[str]:
    """Sentences on what a model learned from."""
    data, metrics = manifest.dataset, manifest.metrics
    said = [f"{data.records:,} readings of the class {manifest.asset_class}, dataset sha256 {data.sha256}"]
    if "assets" in metrics:
        said.append(f"{metrics['assets']} assets; channels {', '.join(manifest.features.channels)}")
    left = {why: count for why, count in data.excluded.items() if count}
    said += [f"left out, {why}: {count:,} records" for why, count in sorted(left.items())]
    return said


def cannot_see(evidence: Evidence) -> list[str]:
    """Sentences on what this model does not notice, from how it was made and from what it was seen to miss."""
    manifest, rule = evidence.model.manifest, evidence.model.manifest.alarm
    spec, metrics = manifest.features, manifest.metrics
    takes = f"an alarm takes {rule.open_after} scores in a row, one every {spec.step} readings"
    said = [
        f"Anything in channels other than {', '.join(spec.channels)}.",
        f"Deviations that are over within {(rule.open_after - 1) * spec.step + 1} readings: {takes}.",
        "A fault that was there in all of the training range: it looks healthy to this model.",
    ]
    if metrics.get("channels_left_out"):
        said.append(f"Channels that too few readings carried: {', '.join(metrics['channels_left_out'])}.")
    strangers = [one.key for one in evidence.assets if one.key not in manifest.thresholds]
    if strangers:
        said.append(
            f"How these differ from the class, having no threshold of their own: {_named(strangers)}; what is normal "
            f"for them may alarm, and what is not may pass ({manifest.thresholds[CLASS_WIDE]:.3g} is used)."
        )
    silent = 1 - sum(int(one.verdicts.known.sum()) for one in evidence.assets) / _readings(evidence)
    if silent > 0.001:
        said.append(f"{silent:.1%} of these readings: gaps, and the readings until a window is full.")
    wide = [f"{name} ({share:.1%})" for name, share in evidence.drift.outside.items() if share > 0.02]
    if wide:
        said.append(f"Regimes that it was not trained on: beyond three scales of the centre are {', '.join(wide)}.")
    return [*said, *_missed(evidence)]


def _missed(evidence: Evidence) -> list[str]:
    if not evidence.material.is_labelled:
        return ["Whether it finds faults was not measured: no labels are known for these readings."]
    missed = [
        f"{one.key} at {(one.series.t[start] - one.series.t[0]) / 60_000:.0f} min"
        for one in evidence.assets
        for start, end in counts.stretches((one.truth == FAULT) & one.use)
        if not one.verdicts.alarm[start:end].any()
    ]
    return [f"{len(missed)} labelled faults, in which it raised no alarm: {_named(missed)}."] if missed else []


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _readings(evidence: Evidence) -> int:
    return max(1, sum(len(one.series) for one in evidence.assets))


def _drift(evidence: Evidence) -> dict[str, Any]:
    drift = evidence.drift
    known = {c: row[np.isfinite(row)] for c, row in zip(drift.channels, drift.psi, strict=True)}
    worst = {channel: float(row.max()) for channel, row in known.items() if len(row)}
    return {
        "reference": drift.reference,
        "psi": {
            c: [None if not np.isfinite(v) else round(float(v), 6) for v in r]
            for c, r in zip(drift.channels, drift.psi, strict=True)
        },
        "worst": worst,
        "large": sorted(channel for channel, value in worst.items() if value >= LARGE_DRIFT),
    }
