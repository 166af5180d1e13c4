"""Training at once, on this machine, for `headwater train life`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cloud_trainer.cards import remaining
from cloud_trainer.certificates import replay
from cloud_trainer.datasets import sessions
from cloud_trainer.job import collected
from cloud_trainer.life import making, requests
from cloud_trainer.life.choosing import recipe_of
from cloud_trainer.life.making import LifeMade
from cloud_trainer.life.recipe import LifeClass, LifeRecipe
from cloud_trainer.progress import bar
from cloud_trainer.serve import make_job
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing.finding import published
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.files import replace_durably
from headwater.transport.objects import open_store


class Recorded(NamedTuple):
    """Recordings to learn from; `dataset` says which rows of them."""

    folder: Path
    site: str
    dataset: str | None


def recipe(settings: TrainerSettings, asset_class: str, *, is_recorded: bool) -> LifeRecipe:
    """The recipe of a class by the settings, else that of its newest version; of recordings no version is asked."""
    named = settings.life_recipes
    if is_recorded:
        return named.get(asset_class, LifeRecipe())
    return recipe_of(published(settings), asset_class, named) or LifeRecipe()


def publish(settings: TrainerSettings, life: LifeRecipe, request: RetrainRequest) -> TrainingRun:
    """Carry out a request as the service would, by this recipe."""
    named = LifeClass(asset_class=request.asset_class, **life.model_dump())
    job, runs = make_job(settings.model_copy(update={"life": (*settings.life, named)}))
    runs.prepare()
    return job.run(request)


def make(settings: TrainerSettings, life: LifeRecipe, request: RetrainRequest, recorded: Recorded | None) -> LifeMade:
    """A certified model from recordings, or from ranges of topics; nothing is written anywhere."""
    if recorded is not None:
        folder, site, dataset = recorded
        found = sessions.recorded(settings, folder, request.asset_class, site, None, dataset)
    else:
        store = open_store(settings.objects) if request.dataset is not None else None
        found = collected(settings.kafka, request, settings.recipe, store)
    with bar("holding out assets", life.folds) as tell:
        return requests.make_from(found, settings.recipe, life, settings.parity.runtimes, tell)


def write(made: LifeMade, request_id: str, version: int, out: Path | None) -> Manifest:
    """The manifest; with `out` model, card and predictions are written there, the manifest last."""
    manifest = making.make_manifest(request_id, version, made)
    if out is not None:
        replay.save(making.replay_of(made), out / replay.FILE)
        replace_durably(out / remaining.PREDICTIONS_FILE, making.predictions(made))
        replace_durably(out / MODEL_FILE, made.data)
        replace_durably(out / MANIFEST_FILE, manifest.encode())
        remaining.draw_beside(out)
    return manifest
