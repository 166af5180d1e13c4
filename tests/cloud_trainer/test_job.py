"""One request, one outcome, one version, one announcement: over crashes between any two steps."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cloud_trainer import local
from cloud_trainer.job import Job
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from cloud_trainer.settings import TrainerSettings
from headwater.contract import messages, topics
from headwater.contract.canonical import sha256
from headwater.contract.errors import Conflict, DataMissing, Unreachable
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport import kafka as wire
from headwater.transport import tflite
from headwater.transport.kafka_batch import read_records
from headwater.transport.objects import MemoryStore, ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.plant import healthy
from tests.edge_agent.box import free_port

ROWS = healthy(3, 400, pumps=2)


class Crashed(Exception):
    """The process ends here."""


class Fragile:
    """A publisher whose process dies just before or just after it has published."""

    def __init__(self, models: Publisher) -> None:
        self._models = models
        self.dies = ""

    def publish(self, files: dict[str, bytes], custom: dict[str, dict[str, Any]] | None = None) -> None:
        if self.dies == "before publishing":
            raise Crashed
        self._models.publish(files, custom)
        if self.dies == "after publishing":
            raise Crashed

    def versions(self, asset_class: str) -> list[int]:
        return self._models.versions(asset_class)

    def read(self, path: str) -> bytes:
        return self._models.read(path)

    def targets(self, prefix: str = "") -> Mapping[str, object]:
        return self._models.targets(prefix)


class FragileRuns(Runs):
    """A ledger whose process dies just before it writes an outcome, or just before or after it announces."""

    dies = ""

    def write(self, run: TrainingRun) -> None:
        if run.state == "published" and self.dies == "before the outcome":
            raise Crashed
        super().write(run)

    def announce(self, run: TrainingRun) -> None:
        if self.dies == "before announcing":
            raise Crashed
        super().announce(run)


@pytest.fixture
def models(tmp_path: Path) -> Publisher:
    """An empty signed repository in memory."""
    store = MemoryStore()
    init_repository(store, tmp_path / "keys")
    return Publisher(store, tmp_path / "keys", "models")


async def filled(cloud: Cloud) -> RetrainRequest:
    for asset in ("pump-1", "pump-2"):
        await cloud.send(asset, ROWS[f"lyon/{asset}"])
    offsets = {cloud.readings: {"0": (0, 400), "1": (0, 400)}}
    return RetrainRequest(f"{cloud.site}-1", "pump", offsets, "test", "because")


async def recorded(cloud: Cloud, topic: str, request_id: str) -> list[TrainingRun]:
    """Every record of a request on a topic of runs, in order."""
    found = []
    first, last = await cloud.cluster.offsets(topic, "earliest"), await cloud.cluster.offsets(topic, "latest")
    async for records in read_records(cloud.cluster, topic, 0, first[0], last[0]):
        found += [messages.decode(record.value, TrainingRun) for record in records]
    return [run for run in found if run.request_id == request_id]


async def test_a_request_becomes_a_signed_version(cloud: Cloud, models: Publisher) -> None:
    """Model and manifest are published together; the manifest names range and digest, the runtime loads the model."""
    request = await filled(cloud)
    job = Job(cloud.settings, Runs(cloud.settings), models, Recipe())
    run = await asyncio.to_thread(job.run, request)
    assert (run.state, run.version, run.records) == ("published", 1, 800)
    manifest = decode_manifest(models.read(model_path("pump", 1, MANIFEST_FILE)))
    model = models.read(model_path("pump", 1, MODEL_FILE))
    assert sha256(model) == manifest.sha256 == run.sha256
    assert manifest.dataset.offsets == request.offsets
    assert manifest.dataset.sha256 == run.dataset_sha256
    assert tflite.Model(model).features == 16
    assert [r.state for r in await recorded(cloud, topics.TRAINING_RUNS, request.request_id)] == [
        "started",
        "published",
    ]
    assert len(await recorded(cloud, topics.MODEL_EVENTS, request.request_id)) == 1


async def test_the_same_request_is_carried_out_once(cloud: Cloud, models: Publisher) -> None:
    """Delivered again, it brings the outcome that it has; another request makes the next version."""
    request = await filled(cloud)
    job = Job(cloud.settings, Runs(cloud.settings), models, Recipe())
    once = await asyncio.to_thread(job.run, request)
    assert await asyncio.to_thread(job.run, request) == once
    other = RetrainRequest(f"{cloud.site}-2", "pump", request.offsets)
    assert (await asyncio.to_thread(job.run, other)).version == 2
    assert models.versions("pump") == [1, 2]
    first, second = (models.read(model_path("pump", version, MODEL_FILE)) for version in (1, 2))
    assert first == second  # the same range makes the same bytes


@pytest.mark.parametrize("moment", ["before publishing", "after publishing", "before announcing", "before the outcome"])
async def test_a_crash_leaves_nothing_double_and_nothing_undone(cloud: Cloud, models: Publisher, moment: str) -> None:
    """Whenever the trainer dies, the next one ends with one version, one announcement and one outcome."""
    request = await filled(cloud)
    fragile, ledger = Fragile(models), FragileRuns(cloud.settings)
    fragile.dies = ledger.dies = moment
    with pytest.raises(Crashed):
        await asyncio.to_thread(Job(cloud.settings, ledger, fragile, Recipe()).run, request)
    run = await asyncio.to_thread(Job(cloud.settings, Runs(cloud.settings), models, Recipe()).run, request)
    assert (run.state, run.version) == ("published", 1)
    assert models.versions("pump") == [1]
    states = [r.state for r in await recorded(cloud, topics.TRAINING_RUNS, request.request_id)]
    assert states == ["started", "started", "published"]
    assert len(await recorded(cloud, topics.MODEL_EVENTS, request.request_id)) == 1


async def test_two_trainers_make_one_version(cloud: Cloud, models: Publisher) -> None:
    """A trainer that was thought dead loses the number to the other, and then finds the other's version as its own."""
    request = await filled(cloud)
    job = Job(cloud.settings, Runs(cloud.settings), models, Recipe())

    class Overtaken(Fragile):
        def publish(self, files: dict[str, bytes], custom: dict[str, dict[str, Any]] | None = None) -> None:
            theirs = {path: data.replace(b'"created_at":"2', b'"created_at":"1') for path, data in files.items()}
            super().publish(theirs, custom)
            super().publish(files, custom)

    late = Job(cloud.settings, Runs(cloud.settings), Overtaken(models), Recipe())
    with pytest.raises(Conflict):
        await asyncio.to_thread(late.run, request)
    run = await asyncio.to_thread(job.run, request)
    assert run.version == 1
    assert models.versions("pump") == [1]


async def test_what_cannot_succeed_is_an_outcome(cloud: Cloud, models: Publisher) -> None:
    """A range that retention took, and too little data, end as `failed` with the reason, and nothing is published."""
    request = await filled(cloud)
    await cloud.forget(cloud.readings, 0, 10)
    job = Job(cloud.settings, Runs(cloud.settings), models, Recipe())
    run = await asyncio.to_thread(job.run, request)
    assert run.state == "failed"
    assert "offsets 0 to 9 are gone" in run.detail
    short = RetrainRequest(f"{cloud.site}-2", "pump", {cloud.readings: {"1": (0, 30)}})
    assert "healthy windows" in (await asyncio.to_thread(job.run, short)).detail
    assert models.versions("pump") == []
    assert await recorded(cloud, topics.MODEL_EVENTS, request.request_id) == []


async def test_a_range_that_does_not_exist_is_an_outcome(cloud: Cloud, models: Publisher) -> None:
    """A site or a partition that is not there ends as `failed` by its name, and the next request is served."""
    request = await filled(cloud)
    job = Job(cloud.settings, Runs(cloud.settings), models, Recipe())
    nobody = f"{cloud.site[:-1]}x.readings"
    wrong = {nobody: {"0": (0, 1)}}, {cloud.readings: {"0": (0, 400), "2": (0, 1)}}
    said = []
    for number, offsets in enumerate(wrong, start=2):
        run = await asyncio.to_thread(job.run, RetrainRequest(f"{cloud.site}-{number}", "pump", offsets))
        assert run.state == "failed"
        said.append(run.detail)
    assert f"there is no topic {nobody!r}" in said[0]
    assert f"there is no partition {cloud.readings}[2]" in said[1]
    assert (await asyncio.to_thread(job.run, request)).state == "published"


async def test_a_cluster_that_is_away_is_no_outcome(cloud: Cloud, models: Publisher) -> None:
    """An unreachable broker is raised as something to try again; the request stays without an outcome."""
    away = cloud.settings.model_copy(update={"brokers": "127.0.0.1:9", "connect_timeout_s": 0.5})
    request = await filled(cloud)
    with pytest.raises(Unreachable):
        await asyncio.to_thread(Job(away, Runs(cloud.settings), models, Recipe()).run, request)
    runs = await asyncio.to_thread(Runs(cloud.settings).all)
    assert runs[request.request_id].state == "started"


@pytest.fixture
def trainer(cloud: Cloud, tmp_path: Path) -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """`headwater train serve` as a process, publishing into a folder."""
    store = tmp_path / "store"
    settings = ObjectSettings(endpoint=store.as_uri())
    init_repository(open_store(settings), tmp_path / "keys")
    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__OBJECTS__ENDPOINT": store.as_uri(),
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "keys"),
        "HEADWATER_TRAINER__GROUP": cloud.site,
        "HEADWATER_TRAINER__METRICS_PORT": str(free_port()),
    }
    process = subprocess.Popen([sys.executable, "-m", "headwater", "train", "serve"], env=environment, cwd=tmp_path)
    yield environment, process
    process.kill()
    process.wait()


async def test_the_command_line_asks_and_the_service_answers(
    cloud: Cloud, trainer: tuple[dict[str, str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """`request --wait` prints the outcome, `jobs` and `show` tell of it; bad records are skipped; SIGTERM gives 0."""
    environment, process = trainer
    request = await filled(cloud)
    await asyncio.to_thread(wire.send, cloud.settings, topics.RETRAIN_REQUESTS, b"x", b"not a request")
    (tmp_path / "offsets.json").write_text(json.dumps(request.offsets))

    async def command(*arguments: str) -> str:
        program = [sys.executable, "-m", "headwater", "train", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, program, env=environment, cwd=tmp_path, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    asked = ["request", "--class", "pump", "--offsets", "offsets.json", "--request-id", request.request_id]
    dry = json.loads(await command(*asked, "--dry-run"))
    assert dry["offsets"] == {cloud.readings: {"0": [0, 400], "1": [0, 400]}}
    run = json.loads(await command(*asked, "--wait", "--json"))
    assert (run["state"], run["records"]) == ("published", 800)
    assert run["version"] >= 1, "another one where a request of another test was still waiting"
    jobs = json.loads(await command("jobs", "--json"))["runs"]
    assert run in jobs
    assert "800 records" in await command("show", f"pump/{run['version']}")
    scraped = f"http://127.0.0.1:{environment['HEADWATER_TRAINER__METRICS_PORT']}/metrics"
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(scraped, timeout=5).read().decode())
    assert "\nheadwater_trainer_ready 1.0\n" in page
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 15) == 0


async def test_waiting_for_nobody_ends(cloud: Cloud) -> None:
    """A request that no trainer takes up is reported as such after the time given."""
    with pytest.raises(Unreachable, match="nobody has taken it up"):
        await asyncio.to_thread(Runs(cloud.settings).wait, f"{cloud.site}-9", 0.1)


async def test_a_model_without_a_service_goes_to_a_folder(cloud: Cloud, tmp_path: Path) -> None:
    """`run --out` writes both files from a range of the log and publishes nothing."""
    request = await filled(cloud)
    made = await asyncio.to_thread(local.from_cluster, TrainerSettings(kafka=cloud.settings), request)
    manifest = local.write(made, request.request_id, 4, tmp_path / "out")
    assert decode_manifest((tmp_path / "out" / MANIFEST_FILE).read_bytes()) == manifest
    assert sha256((tmp_path / "out" / MODEL_FILE).read_bytes()) == manifest.sha256
    gone = RetrainRequest("x", "pump", {cloud.readings: {"0": (0, 401)}})
    with pytest.raises(DataMissing):
        await asyncio.to_thread(local.from_cluster, TrainerSettings(kafka=cloud.settings), gone)
