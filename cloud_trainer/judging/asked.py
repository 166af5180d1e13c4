"""What the command line names: models, and readings to judge them on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cloud_trainer.datasets import building, sessions
from cloud_trainer.datasets.collecting import Collected, training_set
from cloud_trainer.judging import material
from cloud_trainer.judging.compare import Compared, compare
from cloud_trainer.judging.decision import JUDGE_FILE
from cloud_trainer.judging.material import FAULT, NORMAL, Material
from cloud_trainer.labels import reading, store, words
from cloud_trainer.labels.joining import episodes, truth_of
from cloud_trainer.progress import bar
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing.models import Model
from headwater.contract import topics
from headwater.contract.errors import BadInput
from headwater.transport.files import replace_durably
from headwater.transport.objects import open_store

Offsets = dict[str, dict[str, tuple[int, int]]]


class Range(NamedTuple):
    """Readings to judge on: recordings, a dataset, or ranges of the cloud's topics; none: what was trained on."""

    folder: Path | None
    site: str
    behind: int  # rows of each recording that are left out at its begin
    offsets: Offsets | None
    dataset: str | None = None  # a dataset file, or the digest of a frozen dataset
    labels: Path | None = None  # maintenance orders, instead of those on the topic


def judged(settings: TrainerSettings, champion: Model, challenger: Model, where: Range) -> Compared:
    """Both models on these readings."""
    given = readings(settings, challenger, where)
    with bar("judging assets", len(given.learn.series)) as tell:
        return compare(champion, challenger, given, tell=tell)


def readings(settings: TrainerSettings, model: Model, where: Range) -> Material:
    """The readings of a range with what is known of them; by default those that a model was trained on."""
    asset_class = model.manifest.asset_class
    if where.folder is not None:
        whole = material.from_recordings(where.folder, asset_class, where.site, recipe=settings.recipe)
        return material.behind(whole, where.behind) if where.behind else whole
    if where.dataset is not None:
        return _of_dataset(settings, asset_class, where.dataset, where.labels)
    offsets = where.offsets if where.offsets is not None else _of_readings(model.manifest.dataset.offsets)
    if not offsets:
        raise BadInput(
            f"{model.name} was not trained on topics: nothing says what to judge it on",
            hint="name its recordings with --folder, or ranges with --offsets",
        )
    found = building.from_kafka(settings.kafka, asset_class, _of_readings(offsets), settings.recipe)
    return with_labels(settings, found, where.labels)


def _of_dataset(settings: TrainerSettings, asset_class: str, which: str, labels: Path | None) -> Material:
    """A dataset from the log, or a frozen one from the store: the digest says that it is the one that was asked for."""
    ranges, digest = sessions.asked_for(settings, asset_class, None, which)
    if ranges is None and digest is not None:
        found = building.from_store(open_store(settings.objects), digest, asset_class, settings.recipe)
    else:
        found = building.from_kafka(settings.kafka, asset_class, ranges, settings.recipe)
        building.expect_digest(found, digest)
    return with_labels(settings, found, labels)


def with_labels(settings: TrainerSettings, found: Collected, orders: Path | None) -> Material:
    """All readings, those of alarms too; what is known is in the recordings, in orders, or on the topic `labels`."""
    learn = training_set(replace(found, alarms={}), settings.recipe)
    if found.labels and orders is None:
        truth = {key: np.where(mask, FAULT, NORMAL).astype(np.int8) for key, mask in found.labels.items()}
        return material.checked(material.with_truth(learn, truth), found, settings.recipe)
    stored = store.read(settings.kafka) if orders is None and not found.site else []  # recordings have no cluster
    labels = stored if orders is None else reading.read(orders)
    if found.words and orders is None:  # said within these ranges, stored or not
        labels = [*labels, *words.as_labels(found.words, episodes(store.alarms(settings.kafka)))]
    known = material.with_truth(learn, truth_of(learn, labels, int(settings.label_lead_s * 1000)))
    return material.checked(known, found, settings.recipe)


def _of_readings(offsets: Offsets) -> Offsets:
    suffix = f".{topics.READINGS}"
    return {topic: parts for topic, parts in offsets.items() if topic.endswith(suffix)}


def keep(settings: TrainerSettings, outcome: Compared, challenger: Model, *, record: bool) -> list[str]:
    """Write the decision beside the challenger, and to `training-runs` if asked; where it was written."""
    decision, written = outcome.decision, []
    if challenger.folder is not None:
        replace_durably(challenger.folder / JUDGE_FILE, decision.encode())
        written.append(str(challenger.folder / JUDGE_FILE))
    if record:
        runs = Runs(settings.kafka)
        runs.prepare()
        runs.write(decision.as_run())
        written.append(topics.TRAINING_RUNS)
    return written
