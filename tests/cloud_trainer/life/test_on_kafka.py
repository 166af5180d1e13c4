"""Lives from real topics: overhauls divide them, failures are learned from, and a request becomes one version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cloud_trainer.datasets import building
from cloud_trainer.datasets.file import describe
from cloud_trainer.datasets.frozen import freeze
from cloud_trainer.datasets.sources import KafkaSource
from cloud_trainer.job import Job
from cloud_trainer.life.histories import History
from cloud_trainer.life.lives import Lives, lives
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from headwater.contract import headers, topics
from headwater.contract.manifest import MANIFEST_FILE, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest
from headwater.contract.overhaul import Overhaul
from headwater.contract.reading import encode as encode_reading
from headwater.transport.kafka_batch import Cluster, Out
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.life.engines import SENSORS, fleet
from tests.cloud_trainer.test_job import Crashed, Fragile, recorded

LIFE = LifeRecipe(
    settings=("height", "kind"), most=80, warn=15, early=1.25, epochs=20, layers=(8,), latents=(2,), budget_s=5
)
CLASS = ((headers.CLASS, b"engine"),)
NAMES = ("height", "kind", *SENSORS)


def overhaul(asset: str, failed: bool, at: int) -> Out:
    """As `headwater edge overhauled` writes it."""
    said = Overhaul(asset, at, failed, "test")
    return Out(asset.encode(), said.encode(), ((headers.OVERHAULED, asset.encode()),), at)


def cycles(asset: str, history: History, at: int) -> list[Out]:
    """One reading a cycle."""
    rows = np.concatenate([history.settings, history.sensors], axis=1)
    return [
        Out(asset.encode(), encode_reading(at + n * 3_600_000, dict(zip(NAMES, row.tolist(), strict=True))), CLASS, at)
        for n, row in enumerate(rows)
    ]


async def filled(cloud: Cloud, asset: str, partition: int, histories: Sequence[History]) -> int:
    """An asset whose first life nobody saw begin, two that were run to failure, one that was not, one that goes on.

    How many records there are.
    """
    at, outs = 1_770_000_000_000, []
    for history, failed in zip(histories, (True, True, True, False, None), strict=True):
        outs += cycles(asset, history, at)
        at += 400 * 3_600_000
        outs += [] if failed is None else [overhaul(asset, failed, at)]
    await cloud.put(cloud.readings, partition, outs)
    return len(outs)


async def plant(cloud: Cloud) -> RetrainRequest:
    """Six engines, two failed lives with a known beginning each."""
    histories = fleet(30, 1, shortest=40, longest=70).histories
    ends = [0, 0]
    for number in range(6):
        some = histories[5 * number : 5 * number + 5]
        ends[number % 2] += await filled(cloud, f"engine-{number}", number % 2, some)
    offsets = {cloud.readings: {"0": (0, ends[0]), "1": (0, ends[1])}}
    return RetrainRequest(f"{cloud.site}-1", "engine", offsets, "test", "because")


@pytest.fixture
def models(tmp_path: Path) -> Publisher:
    """An empty signed repository in memory."""
    store = MemoryStore()
    init_repository(store, tmp_path / "keys")
    return Publisher(store, tmp_path / "keys", "models")


async def read(cloud: Cloud, request: RetrainRequest, *, is_lifelong: bool = True) -> Lives:
    found = await asyncio.to_thread(building.from_kafka, cloud.settings, "engine", request.offsets, Recipe())
    return lives(found, LIFE.settings, is_lifelong=is_lifelong, present=0.9)


async def test_lives_that_ended_with_a_failure_are_learned_from(cloud: Cloud) -> None:
    """The others are named, by what is wrong with them; for the window alone the beginning does not matter."""
    request = await plant(cloud)
    found = await read(cloud, request)
    site = cloud.site
    assert set(found.names) == {f"{site}/engine-{n}#{life}" for n in range(6) for life in (2, 3)}
    assert set(found.fleet.owner_of) == set(range(6))
    wanted = fleet(30, 1, shortest=40, longest=70).histories
    order = {name: number for number, name in enumerate(found.names)}
    for number in range(6):
        history = found.fleet.histories[order[f"{site}/engine-{number}#2"]]
        by_name = dict(zip(found.fleet.sensors, history.sensors.T, strict=True))
        np.testing.assert_array_equal(by_name["hot"], wanted[5 * number + 1].sensors[:, 0])
    assert {why: len(names) for why, names in found.left_out.items()} == {
        "its beginning was not recorded": 6,
        "overhauled before it failed": 6,
        "goes on": 6,
    }
    assert found.left_out["goes on"][0] == f"{site}/engine-0#5"
    everything = sum(len(each.sensors) for each in wanted)
    assert found.source.records == found.cycles
    assert sum(found.source.excluded.values()) == everything - found.cycles
    assert len((await read(cloud, request, is_lifelong=False)).names) == 18


async def test_a_frozen_dataset_keeps_its_overhauls(cloud: Cloud) -> None:
    """Read from the store the lives are the same, bit by bit."""
    request = await plant(cloud)
    found = await asyncio.to_thread(building.from_kafka, cloud.settings, "engine", request.offsets, Recipe())
    store = MemoryStore()
    async with Cluster(cloud.settings, client_id="test") as cluster:
        await freeze(KafkaSource(cluster, found.offsets), describe(found), store)
    frozen = await asyncio.to_thread(building.from_store, store, found.sha256, "engine", Recipe())
    one, other = (lives(each, LIFE.settings, is_lifelong=True, present=0.9) for each in (found, frozen))
    assert one.names == other.names
    assert one.left_out == other.left_out
    for first, second in zip(one.fleet.histories, other.fleet.histories, strict=True):
        assert first.sensors.tobytes() == second.sensors.tobytes()


async def test_a_request_becomes_one_version_over_crashes(cloud: Cloud, models: Publisher) -> None:
    """Of a class that the settings name: killed before and behind the signature it is published once.

    A new request makes the next version, by the recipe of the one that is there where the settings name none.
    """
    request = await plant(cloud)
    fragile = Fragile(models)
    job = Job(cloud.settings, Runs(cloud.settings), fragile, Recipe(), life={"engine": LIFE})
    for fragile.dies in ("before publishing", "after publishing"):
        with pytest.raises(Crashed):
            await asyncio.to_thread(job.run, request)
    fragile.dies = ""
    run = await asyncio.to_thread(job.run, request)
    assert (run.state, run.version) == ("published", 1)
    assert await asyncio.to_thread(job.run, request) == run
    assert models.versions("engine") == [1]
    assert [r.state for r in await recorded(cloud, topics.TRAINING_RUNS, request.request_id)][-1] == "published"
    manifest = decode_manifest(models.read(model_path("engine", 1, MANIFEST_FILE)))
    assert manifest.metrics["lives"] == 12
    assert manifest.metrics["lives_left_out"]["goes on"]["count"] == 6
    assert manifest.dataset.sha256 == run.dataset_sha256

    unnamed = Job(cloud.settings, Runs(cloud.settings), models, Recipe())
    again = RetrainRequest(f"{cloud.site}-2", "engine", request.offsets, "test", "because")
    second = await asyncio.to_thread(unnamed.run, again)
    assert (second.state, second.version, second.sha256) == ("published", 2, run.sha256)
    newer = decode_manifest(models.read(model_path("engine", 2, MANIFEST_FILE)))
    assert newer.metrics["recipe"] == manifest.metrics["recipe"]
    assert newer.metrics["judge"]["verdict"] == "undecided", "as good as the version before, on the same lives"


async def test_no_failed_life_is_an_outcome(cloud: Cloud, models: Publisher) -> None:
    """The request fails with what is missing, and the lives that were left out."""
    histories = fleet(5, 1, shortest=40, longest=50).histories
    count = await filled(cloud, "engine-1", 0, histories)
    request = RetrainRequest(f"{cloud.site}-1", "engine", {cloud.readings: {"0": (0, count)}}, "test", "because")
    run = await asyncio.to_thread(
        Job(cloud.settings, Runs(cloud.settings), models, Recipe(), life={"engine": LIFE}).run, request
    )
    assert run.state == "failed"
    assert "2 lives of 1 assets of engine ended with a failure, 10 of 3 are needed" in run.detail
    assert f"overhauled before it failed: 1, such as {cloud.site}/engine-1#4" in run.detail
