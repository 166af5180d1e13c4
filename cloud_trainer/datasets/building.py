"""From a source to a dataset file and a training set: the three kinds of source, each in one call."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from cloud_trainer.datasets import ranges
from cloud_trainer.datasets.collecting import Collected, Told, collect, training_set
from cloud_trainer.datasets.frozen import open_frozen, read_frozen
from cloud_trainer.datasets.ranges import Offsets
from cloud_trainer.datasets.sources import FolderSource, KafkaSource
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from headwater.contract.errors import BadInput, Untrusted
from headwater.transport import kafka
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.objects import ObjectStore


async def build(cluster: Cluster, asset_class: str, offsets: Offsets, recipe: Recipe) -> TrainingSet:
    """Read these ranges and keep what may be called healthy; errors as `collect_ranges` raises them."""
    return training_set(await collect_ranges(cluster, asset_class, offsets, recipe), recipe)


async def collect_ranges(
    cluster: Cluster, asset_class: str, offsets: Offsets, recipe: Recipe, told: Told | None = None
) -> Collected:
    """Read these ranges of the cloud's topics.

    DataMissing when a part of them is gone, BadInput when they are no ranges, Refused when they are too many records,
    Transient when the cluster is away.
    """
    ranges.check(offsets, recipe.most_records)
    await ranges.check_there(cluster, offsets)
    return await collect(KafkaSource(cluster, offsets), asset_class, told)


def from_kafka(
    settings: KafkaSettings, asset_class: str, offsets: Offsets | None, recipe: Recipe, told: Told | None = None
) -> Collected:
    """As `collect_ranges`, of all that the sites have sent by now where no ranges are named."""

    async def read() -> Collected:
        async with Cluster(settings, client_id="headwater-train") as cluster:
            named = offsets
            if named is None:
                names = await asyncio.to_thread(kafka.topic_names, settings)
                named = await ranges.resolve(cluster, names, recipe.most_records)
            return await collect_ranges(cluster, asset_class, named, recipe, told)

    return asyncio.run(read())


def from_recordings(
    folder: Path, asset_class: str, site: str, rows: int | None = None, told: Told | None = None
) -> Collected:
    """The first `rows` of each recording (all if None); labels only serve checks. BadInput as `recordings`."""
    return from_rows(FolderSource(folder, asset_class, site, rows=rows), asset_class, told)


def from_rows(source: FolderSource, asset_class: str, told: Told | None = None) -> Collected:
    """As `from_recordings`, of recordings that were read already."""
    found = asyncio.run(collect(source, asset_class, told))
    for name in source.offsets:
        one = source.recordings[name]
        key = f"{source.site}/{one.asset}"
        if key in found.columns and any(row.label is not None for row in one.rows):
            places = [at for block in found.columns[key].fresh for at in block.offsets.tolist()]
            found.labels[key] = np.array(
                [bool(one.rows[at].label) for at in places]
            )  # of rows that are no reading none
    return found


def from_store(
    store: ObjectStore, digest: str, asset_class: str, recipe: Recipe, told: Told | None = None
) -> Collected:
    """A frozen dataset; errors as `read_frozen` and `open_frozen` raise them, BadInput where it is of another class.

    Refused when it has more readings than are held in memory, by what it says and by what is read.
    """
    frozen = open_frozen(store, digest)
    if frozen.dataset.asset_class != asset_class:
        raise BadInput(f"dataset {digest} is one of the class {frozen.dataset.asset_class}, not of {asset_class}")
    ranges.check_size(sum(frozen.dataset.readings.values()), recipe.most_records)
    return asyncio.run(read_frozen(store, frozen, told, recipe.most_records))


def expect_digest(found: Collected, digest: str | None) -> None:
    """Untrusted unless what was read has this digest, where one is asked for."""
    if digest is not None and found.sha256 != digest:
        raise Untrusted(
            f"what was read has the digest {found.sha256}, the dataset that was asked for has {digest}",
            hint="headwater train dataset verify names what differs",
        )


def from_folder(folder: Path, asset_class: str, site: str, rows: int | None = None) -> TrainingSet:
    """As `from_recordings`, all of it taken to be healthy."""
    return training_set(from_recordings(folder, asset_class, site, rows), Recipe())
