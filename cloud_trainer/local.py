"""Training at once, on this machine, for `headwater train run`."""

from __future__ import annotations

from pathlib import Path

from cloud_trainer.folder import from_folder
from cloud_trainer.job import make_from
from cloud_trainer.making import Made, make, make_manifest
from cloud_trainer.serve import make_job
from cloud_trainer.settings import TrainerSettings
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.files import replace_durably


def publish(settings: TrainerSettings, request: RetrainRequest) -> TrainingRun:
    """Carry out a request as the service would."""
    job, runs = make_job(settings)
    runs.prepare()
    return job.run(request)


def from_cluster(settings: TrainerSettings, request: RetrainRequest) -> Made:
    """A model from ranges of the cloud's topics; nothing is written anywhere."""
    return make_from(settings.kafka, request, settings.recipe)


def from_recordings(settings: TrainerSettings, folder: Path, asset_class: str, site: str, rows: int | None) -> Made:
    """A model from recordings; no service is asked."""
    return make(from_folder(folder, asset_class, site, rows), settings.recipe)


def write(made: Made, request_id: str, version: int, out: Path | None) -> Manifest:
    """The manifest of a model; with `out` both files are written there, the manifest last."""
    manifest = make_manifest(request_id, version, made)
    if out is not None:
        replace_durably(out / MODEL_FILE, made.model)
        replace_durably(out / MANIFEST_FILE, manifest.encode())
    return manifest
