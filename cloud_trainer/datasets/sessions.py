"""What the commands do with datasets: open one by file or digest, read it again from where it came, freeze it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

import msgspec

from cloud_trainer.datasets import building, ranges
from cloud_trainer.datasets.collecting import Collected, Told
from cloud_trainer.datasets.file import DatasetFile, read_file
from cloud_trainer.datasets.frozen import Frozen, freeze, frozen_digests, index_tag, open_frozen, read_unproven
from cloud_trainer.datasets.ranges import Offsets
from cloud_trainer.datasets.sources import FolderSource, KafkaSource
from cloud_trainer.settings import TrainerSettings
from headwater.contract.errors import BadInput
from headwater.transport import kafka
from headwater.transport.files import read_named
from headwater.transport.kafka_batch import Cluster
from headwater.transport.objects import ObjectStore, open_store

_MOST_OFFSETS_BYTES = 64 << 20


class Opened(NamedTuple):
    """A dataset, and its frozen copy where that is what is to be read."""

    dataset: DatasetFile
    store: ObjectStore | None
    frozen: Frozen | None


def read_offsets(path: Path) -> Offsets:
    """The ranges in a JSON file, or those of a dataset file; BadInput when there are none."""
    data = read_named(path, _MOST_OFFSETS_BYTES)
    try:
        return msgspec.json.decode(data, type=Offsets)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} holds no ranges: {error}", hint='{"lyon.readings": {"0": [0, 5000]}}') from error


def asked_for(
    settings: TrainerSettings, asset_class: str, offsets: Path | None, dataset: str | None
) -> tuple[Offsets | None, str | None]:
    """What a request says of its data: ranges, or a dataset by ranges and digest, or a frozen one by digest alone."""
    if dataset is None:
        return None if offsets is None else read_offsets(offsets), None
    if offsets is not None:
        raise BadInput("--offsets and --dataset both say what to learn from", hint="name one of them")
    opened = open_dataset(settings, dataset)
    if opened.dataset.asset_class != asset_class:
        raise BadInput(f"dataset {dataset} is one of the class {opened.dataset.asset_class}, not of {asset_class}")
    return None if opened.frozen is not None else opened.dataset.offsets, opened.dataset.sha256


def named_offsets(settings: TrainerSettings, path: Path | None) -> Offsets:
    """The ranges in a file, or all that the sites have sent by now."""
    if path is not None:
        return read_offsets(path)

    async def resolved() -> Offsets:
        async with Cluster(settings.kafka, client_id="headwater-train") as cluster:
            names = await asyncio.to_thread(kafka.topic_names, settings.kafka)
            return await ranges.resolve(cluster, names, settings.recipe.most_records)

    return asyncio.run(resolved())


def open_dataset(settings: TrainerSettings, which: str, *, frozen: bool = False) -> Opened:
    """A dataset file by its path, or a frozen dataset by its digest; with `frozen` the frozen copy of a file too."""
    path = Path(which)
    if path.is_file():
        dataset = read_file(path)
        if not frozen:
            return Opened(dataset, None, None)
        store = open_store(settings.objects)
        return Opened(dataset, store, open_frozen(store, dataset.sha256))
    if path.suffix or "/" in which:
        raise BadInput(f"there is no file {which}", hint="headwater train dataset build makes one")
    store = open_store(settings.objects)
    found = open_frozen(store, which)
    return Opened(found.dataset, store, found)


def read_dataset(settings: TrainerSettings, opened: Opened, folder: Path | None, told: Told | None = None) -> Collected:
    """Its records as they are now, in the log, in `folder`, or in the store; whether they are the same is not asked."""
    dataset = opened.dataset
    if opened.store is not None and opened.frozen is not None:
        return asyncio.run(read_unproven(opened.store, opened.frozen, told))
    if dataset.site:
        return building.from_rows(_rows(dataset, folder), dataset.asset_class, told)
    return building.from_kafka(settings.kafka, dataset.asset_class, dataset.offsets, settings.recipe, told)


class Froze(NamedTuple):
    """A frozen dataset, and whether it was there, and proven, before anything was written."""

    frozen: Frozen
    was_there: bool


def freeze_dataset(
    settings: TrainerSettings, dataset: DatasetFile, folder: Path | None, told: Told | None = None
) -> Froze:
    """Freeze the records of a dataset file; errors as `freeze` raises them."""
    store = open_store(settings.objects)
    before = index_tag(store, dataset.sha256)
    frozen = _freeze(settings, store, dataset, folder, told)
    return Froze(frozen, before is not None and index_tag(store, dataset.sha256) == before)


def _freeze(
    settings: TrainerSettings, store: ObjectStore, dataset: DatasetFile, folder: Path | None, told: Told | None
) -> Frozen:
    if dataset.site:
        return asyncio.run(freeze(_rows(dataset, folder), dataset, store, told))

    async def from_log() -> Frozen:
        async with Cluster(settings.kafka, client_id="headwater-train") as cluster:
            ranges.check(dataset.offsets, settings.recipe.most_records)
            await ranges.check_there(cluster, dataset.offsets)
            return await freeze(KafkaSource(cluster, dataset.offsets), dataset, store, told)

    return asyncio.run(from_log())


def all_frozen(settings: TrainerSettings) -> list[DatasetFile]:
    """Every frozen dataset, by digest."""
    store = open_store(settings.objects)
    return [open_frozen(store, digest).dataset for digest in frozen_digests(store)]


def recorded(
    settings: TrainerSettings, folder: Path, asset_class: str, site: str, rows: int | None, which: str | None
) -> Collected:
    """The first `rows` of each recording, or the very rows of a dataset, Untrusted where they are others now."""
    if which is None:
        return building.from_recordings(folder, asset_class, site, rows)
    dataset = open_dataset(settings, which).dataset
    if not dataset.site:
        raise BadInput(f"dataset {which} is one of topics, not of recordings", hint="leave --folder out")
    found = building.from_rows(_rows(dataset, folder), asset_class)
    building.expect_digest(found, dataset.sha256)
    return found


def _rows(dataset: DatasetFile, folder: Path | None) -> FolderSource:
    if folder is None:
        raise BadInput("this dataset is one of recordings: where are they?", hint="add --folder DIR")
    return FolderSource.of_offsets(folder, dataset.asset_class, dataset.site, dataset.offsets)
