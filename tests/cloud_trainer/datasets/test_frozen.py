"""A frozen dataset is the dataset: the same training set, or an error that says what became of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_trainer.datasets import building
from cloud_trainer.datasets import frozen as freezing
from cloud_trainer.datasets.collecting import collect, training_set
from cloud_trainer.datasets.digest import dataset_digest
from cloud_trainer.datasets.file import DatasetFile, describe
from cloud_trainer.datasets.frozen import FrozenSource, freeze, open_frozen, read_frozen
from cloud_trainer.datasets.sources import FolderSource
from cloud_trainer.recipe import Recipe
from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput, DataMissing, Refused, Untrusted
from headwater.transport.objects import MemoryStore
from tests.cloud_trainer.datasets import recorded


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    return FolderSource(recorded.folder(tmp_path), "rig", "lyon", rows=180)


@pytest.fixture
async def dataset(source: FolderSource) -> DatasetFile:
    return describe(await collect(source, "rig"))


async def test_it_gives_the_training_set_of_its_source(
    source: FolderSource, dataset: DatasetFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one file a partition or in several: digest, series and exclusions are those of the source."""
    monkeypatch.setattr(freezing, "_PART_RECORDS", 50)
    monkeypatch.setattr(freezing, "_CUT", 20)
    monkeypatch.setattr(freezing, "_PIECE", 7)
    store = MemoryStore()
    frozen = await freeze(source, dataset, store)
    assert [part.records for part in frozen.parts] == [60, 60, 60] * 3
    ours = training_set(await read_frozen(store, open_frozen(store, dataset.sha256[:12])), Recipe())
    theirs = training_set(await collect(source, "rig"), Recipe())
    assert ours.source == theirs.source
    assert ours.channels == theirs.channels
    for key, one in ours.series.items():
        assert np.array_equal(one.values, theirs.series[key].values)
        assert np.array_equal(one.t, theirs.series[key].t)
    again = describe(await read_frozen(store, frozen))
    assert again == dataset


async def test_freezing_twice_writes_once(source: FolderSource, dataset: DatasetFile) -> None:
    """The second time reads what is there and changes nothing; so does freezing from the frozen copy."""
    store = MemoryStore()
    once = await freeze(source, dataset, store)
    before = dict(store.objects)
    assert await freeze(source, dataset, store) == once
    assert await freeze(FrozenSource(store, once), dataset, store) == once
    assert store.objects == before


async def test_a_killed_freeze_is_none_and_is_completed(source: FolderSource, dataset: DatasetFile) -> None:
    """Without its index there is no dataset; freezing again takes the files that are there."""
    store = MemoryStore()
    await freeze(source, dataset, store)
    whole = dict(store.objects)
    del store.objects[f"datasets/{dataset.sha256}/dataset.json"]
    del store.objects[next(key for key in store.objects if key.endswith(".parquet"))]
    with pytest.raises(DataMissing, match=r"no dataset .* is frozen there"):
        open_frozen(store, dataset.sha256)
    await freeze(source, dataset, store)
    assert store.objects == whole


async def test_other_records_are_not_frozen_under_its_name(dataset: DatasetFile, tmp_path: Path) -> None:
    """A source that has changed since is refused with the range that differs, and no index is written."""
    recorded.write(tmp_path / "rig-2.csv", recorded.rows(200, 99))
    store = MemoryStore()
    with pytest.raises(Untrusted, match=r"rig-2.csv\[0\], offsets 0 to 179"):
        await freeze(FolderSource(tmp_path, "rig", "lyon", rows=180), dataset, store)
    assert not any(key.endswith("dataset.json") for key in store.objects)


async def test_damage_is_named(source: FolderSource, dataset: DatasetFile) -> None:
    """An altered file, one that is gone, and an index that was changed are told apart, each by its key."""
    store = MemoryStore()
    frozen = await freeze(source, dataset, store)
    key = f"datasets/{dataset.sha256}/{frozen.parts[1].sha256}.parquet"
    data = store.objects[key]
    store.objects[key] = data[:-20] + b"x" + data[-19:]
    with pytest.raises(Untrusted, match=rf"{key} was altered: offsets 0 and on of rig-2.csv\[0\]"):
        await read_frozen(store, frozen)
    del store.objects[key]
    with pytest.raises(DataMissing, match=rf"{key} is gone"):
        await read_frozen(store, frozen)
    index = f"datasets/{dataset.sha256}/dataset.json"
    store.objects[index] = store.objects[index].replace(b'[0,180,"', b'[0,179,"', 1)
    with pytest.raises(Untrusted, match="is no index of a dataset"):
        open_frozen(store, dataset.sha256)


async def test_what_is_no_digest_is_said(source: FolderSource, dataset: DatasetFile) -> None:
    """A name that cannot be one, and a beginning that none has."""
    store = MemoryStore()
    with pytest.raises(BadInput, match="is no digest"):
        open_frozen(store, "../../etc")
    with pytest.raises(DataMissing, match="begins with deadbeef"):
        open_frozen(store, "deadbeef")


@pytest.mark.parametrize(("asset_class", "site"), [("motor", "lyon"), ("rig", "paris")])
async def test_the_same_records_of_another_class_or_site_are_another_dataset(
    source: FolderSource, dataset: DatasetFile, asset_class: str, site: str
) -> None:
    """Both are in the digest: an index that says otherwise what they are is refused, and both may be frozen."""
    store = await altered(source, dataset, site=site, asset_class=asset_class)
    with pytest.raises(Untrusted, match="not that of its class, site and ranges"):
        open_frozen(store, dataset.sha256)
    store = MemoryStore()
    await freeze(source, dataset, store)
    source.site = site
    other = describe(await collect(source, asset_class))
    assert other.sha256 != dataset.sha256
    await freeze(source, other, store)
    assert open_frozen(store, dataset.sha256).dataset == dataset
    assert open_frozen(store, other.sha256).dataset == other


@pytest.mark.parametrize("damage", ["a file altered", "a file gone", "an index altered", "an index of other files"])
async def test_what_is_damaged_is_frozen_again(
    source: FolderSource, dataset: DatasetFile, damage: str, tmp_path: Path
) -> None:
    """From a source that still has the records; from one that has others nothing of the index is replaced."""
    store = MemoryStore()
    frozen = await freeze(source, dataset, store)
    whole, index = dict(store.objects), f"datasets/{dataset.sha256}/dataset.json"
    key = f"datasets/{dataset.sha256}/{frozen.parts[1].sha256}.parquet"
    if damage == "a file altered":
        store.objects[key] = store.objects[key][:-1] + b"x"
    elif damage == "a file gone":
        del store.objects[key]
    elif damage == "an index altered":
        store.objects[index] = whole[index][:-9]
    else:
        store.objects[index] = canonical_json(msgspec.structs.replace(frozen, parts=frozen.parts[:1]))
    damaged = dict(store.objects)
    with pytest.raises((Untrusted, DataMissing)):
        await read_frozen(store, open_frozen(store, dataset.sha256))
    (tmp_path / "other").mkdir()
    for number in (1, 2, 3):
        recorded.write(tmp_path / "other" / f"rig-{number}.csv", recorded.rows(200, 40 + number))
    with pytest.raises(Untrusted, match="these are not the records of the dataset"):
        await freeze(FolderSource(tmp_path / "other", "rig", "lyon", rows=180), dataset, store)
    assert store.objects[index] == damaged[index]
    again = await freeze(source, dataset, store)
    assert {each: store.objects[each] for each in whole} == whole
    assert again == frozen
    assert (await read_frozen(store, open_frozen(store, dataset.sha256))).sha256 == dataset.sha256


async def test_an_index_that_names_more_records_than_offsets_is_refused(
    source: FolderSource, dataset: DatasetFile
) -> None:
    """Nothing is decoded of files that cannot be those of the ranges."""
    store = MemoryStore()
    frozen = await freeze(source, dataset, store)
    spoilt = [msgspec.structs.replace(part, records=part.records + 10**9) for part in frozen.parts]
    store.objects[f"datasets/{dataset.sha256}/dataset.json"] = canonical_json(
        msgspec.structs.replace(frozen, parts=spoilt)
    )
    with pytest.raises(Untrusted, match="names files that are none"):
        open_frozen(store, dataset.sha256)


async def altered(source: FolderSource, dataset: DatasetFile, **changes: object) -> MemoryStore:
    """A store whose index says something else of the dataset."""
    store = MemoryStore()
    frozen = await freeze(source, dataset, store)
    spoilt = msgspec.structs.replace(frozen, dataset=msgspec.structs.replace(dataset, **changes))
    store.objects[f"datasets/{dataset.sha256}/dataset.json"] = canonical_json(spoilt)
    return store


async def test_an_index_that_tells_fewer_readings_does_not_fill_the_memory(
    source: FolderSource, dataset: DatasetFile
) -> None:
    """Readings are counted while they are read: more than may be held are refused whatever the index says."""
    store = await altered(source, dataset, readings={})
    with pytest.raises(Refused, match="at most 200 are held in memory"):
        await read_frozen(store, open_frozen(store, dataset.sha256), most_records=200)
    assert (await read_frozen(store, open_frozen(store, dataset.sha256), most_records=540)).sha256 == dataset.sha256


def test_a_frozen_dataset_is_read_up_to_what_the_recipe_holds(tmp_path: Path) -> None:
    """Training from the store counts too."""
    source = FolderSource(recorded.folder(tmp_path), "rig", "lyon")
    dataset = describe(building.from_rows(source, "rig"))
    store = asyncio.run(altered(source, dataset, readings={}))
    with pytest.raises(Refused, match="held in memory"):
        building.from_store(store, dataset.sha256, "rig", Recipe(most_records=200))


async def test_a_site_that_is_none_is_refused(source: FolderSource, dataset: DatasetFile) -> None:
    """The site of an index is the name of a site."""
    store = await altered(source, dataset, site="../x")
    with pytest.raises(Untrusted, match="is not a name"):
        open_frozen(store, dataset.sha256)


@pytest.mark.parametrize("partition", ["x", "-1", "\u00b2", "\u0663"])
@pytest.mark.parametrize("site", ["", "lyon"])
def test_partitions_are_numbers(dataset: DatasetFile, partition: str, site: str) -> None:
    """Also in a dataset file, and of recordings."""
    (_, of), *_ = dataset.spans.items()
    spans = {"lyon.readings": {partition: of["0"]}}
    with pytest.raises(BadInput, match="is no range of a partition"):
        msgspec.structs.replace(dataset, spans=spans, sha256=dataset_digest("rig", site, spans), site=site).check()
