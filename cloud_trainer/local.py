"""Training at once, on this machine, for `headwater train run`."""

from __future__ import annotations

from pathlib import Path

from cloud_trainer.certificates import replay
from cloud_trainer.datasets import sessions
from cloud_trainer.datasets.checks import fit_to_learn
from cloud_trainer.job import make_from
from cloud_trainer.making import Made, certified, make, make_manifest, replay_of
from cloud_trainer.serve import make_job
from cloud_trainer.settings import TrainerSettings
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.files import replace_durably
from headwater.transport.objects import open_store


def publish(settings: TrainerSettings, request: RetrainRequest) -> TrainingRun:
    """Carry out a request as the service would."""
    job, runs = make_job(settings)
    runs.prepare()
    return job.run(request)


def from_cluster(settings: TrainerSettings, request: RetrainRequest) -> Made:
    """A model from ranges of the cloud's topics, or from a frozen dataset; nothing is written anywhere."""
    store = open_store(settings.objects) if request.dataset is not None else None
    return certified(make_from(settings.kafka, request, settings.recipe, store), settings.parity.runtimes)


def from_recordings(
    settings: TrainerSettings, folder: Path, asset_class: str, site: str, rows: int | None, dataset: str | None = None
) -> Made:
    """A model from recordings that passed the checks, or from those that a dataset names; no cluster is asked."""
    found = sessions.recorded(settings, folder, asset_class, site, rows, dataset)
    return certified(make(fit_to_learn(found, settings.recipe), settings.recipe), settings.parity.runtimes)


def write(made: Made, request_id: str, version: int, out: Path | None) -> Manifest:
    """The manifest of a model; with `out` both files are written there, the manifest last, and the replay before."""
    manifest = make_manifest(request_id, version, made)
    if out is not None:
        replay.save(replay_of(made), out / replay.FILE)
        replace_durably(out / MODEL_FILE, made.model)
        replace_durably(out / MANIFEST_FILE, manifest.encode())
    return manifest
