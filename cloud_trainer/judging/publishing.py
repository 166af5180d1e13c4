"""From a folder to a signed version: with proof of parity, and with the judge's consent."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from cloud_trainer.certificates.certifying import check_certified
from cloud_trainer.judging.champion import champion_of
from cloud_trainer.judging.decision import JUDGE_FILE, Decision, decode_decision
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing import models
from cloud_trainer.tracing.finding import published
from cloud_trainer.tracing.models import Model
from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, model_path
from headwater.contract.messages import TrainingRun
from headwater.transport.files import read_named
from headwater.transport.registry.publisher import Publisher

BEFORE = "was published before"  # detail of a folder's second publication, which does nothing


def publish(settings: TrainerSettings, folder: Path, *, unjudged: bool, reason: str, dry_run: bool) -> TrainingRun:
    """Sign the model in a folder as the next version of its class, and tell of it; the same folder only once.

    GateFailed without a certificate of each runtime, or a decision for it against the champion of now; Untrusted where
    no published version reads back, so that there is no champion.
    """
    if unjudged and not reason:
        raise BadInput("--unjudged needs a reason", hint='--reason "first model with the new sensors"')
    began, model, signed = time.monotonic(), models.from_folder(folder), published(settings)
    asset_class = model.manifest.asset_class
    before = _same(signed, model)
    if before is not None:
        return _run(model, before, began, BEFORE)
    check_certified(model.manifest, settings.parity.runtimes)
    versions = signed.versions(asset_class)
    metrics = dict(model.manifest.metrics)
    champion = None if unjudged else champion_of(signed, asset_class)
    if champion is not None:
        decision = _decision(folder, asset_class)
        check(decision, champion.model, model)
        number = champion.model.manifest.version
        metrics["judge"] = {"sha256": decision.digest(), "verdict": decision.verdict, "champion": number}
    elif unjudged:
        metrics["judge"] = {"verdict": "not asked", "reason": reason}
    version = max(versions, default=0) + 1
    manifest = msgspec.structs.replace(model.manifest, version=version, metrics=metrics)
    manifest.check()
    if not dry_run:
        files = {MODEL_FILE: model.data, MANIFEST_FILE: manifest.encode()}
        signed.publish({model_path(asset_class, version, name): data for name, data in files.items()})
    run = _run(model, version, began, reason if champion is None else champion.why)
    if not dry_run:
        runs = Runs(settings.kafka)
        runs.prepare()
        runs.announce(run)
        runs.write(run)
    return run


def check(decision: Decision, champion: Model, challenger: Model) -> None:
    """Raise GateFailed unless this decision is about these two, and for the challenger."""
    about = (decision.champion.sha256, decision.challenger.sha256, decision.challenger.manifest_sha256)
    asked = (champion.manifest.sha256, challenger.manifest.sha256, sha256(challenger.manifest_bytes))
    again = f"headwater train compare {challenger.manifest.asset_class} {challenger.where}"
    if about != asked:
        raise GateFailed(
            f"{JUDGE_FILE} is about other models than {champion.name} and {challenger.where}",
            hint=f"judge again: {again}",
        )
    if decision.verdict != "promote":
        raise GateFailed(
            f"the judge says {decision.verdict}: {'; '.join(decision.reasons)}",
            hint="judge it on more data, or take the responsibility: --unjudged --reason ...",
        )


def _decision(folder: Path, asset_class: str) -> Decision:
    if not (folder / JUDGE_FILE).exists():
        raise GateFailed(
            f"{folder} was not judged against the champion of its class",
            hint=f"headwater train compare {asset_class} {folder} --offsets FILE",
        )
    return decode_decision(read_named(folder / JUDGE_FILE, 16 << 20))


def _same(signed: Publisher, model: Model) -> int | None:
    """The version that was published for the same request with the same bytes."""
    asset_class = model.manifest.asset_class
    same = (model.manifest.request_id, model.manifest.sha256)
    there = models.manifests(signed, asset_class)
    return next((found.version for found in there if (found.request_id, found.sha256) == same), None)


def _run(model: Model, version: int, began: float, detail: str) -> TrainingRun:
    manifest = model.manifest
    return TrainingRun(
        manifest.request_id,
        manifest.asset_class,
        "published",
        int(time.time() * 1000),
        version=version,
        sha256=manifest.sha256,
        dataset_sha256=manifest.dataset.sha256,
        records=manifest.dataset.records,
        seconds=round(time.monotonic() - began, 3),
        detail=detail,
    )
