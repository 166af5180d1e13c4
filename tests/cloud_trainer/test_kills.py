"""The trainer as a process, killed at any moment: one version, one announcement, one outcome for each request."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloud_trainer.runs import Runs
from headwater.contract import messages, topics
from headwater.contract.manifest import MANIFEST_FILE, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.kafka_batch import read_records
from headwater.transport.objects import ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.plant import healthy

SEED = 7
DEADLINE_S = 40.0


class Trainer:
    """`headwater train serve`, started and killed at will."""

    def __init__(self, cloud: Cloud, root: Path) -> None:
        settings = ObjectSettings(endpoint=(root / "store").as_uri())
        init_repository(open_store(settings), root / "keys")
        self.models = Publisher(open_store(settings), root / "keys", "models")
        self._root = root
        self._environment = {
            **os.environ,
            "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
            "HEADWATER_TRAINER__OBJECTS__ENDPOINT": (root / "store").as_uri(),
            "HEADWATER_TRAINER__KEYS": str(root / "keys"),
        }
        self._group, self._lives = cloud.site, 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """A new life; in a group of its own, since Kafka keeps the partition for a dead member for a while."""
        self._lives += 1
        self._environment["HEADWATER_TRAINER__GROUP"] = f"{self._group}-{self._lives}"
        program = [sys.executable, "-m", "headwater", "train", "serve"]
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(program, env=self._environment, cwd=self._root, stderr=log)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def log(self) -> str:
        return (self._root / "log").read_text()[-3000:]


@pytest.fixture
def trainer(cloud: Cloud, tmp_path: Path) -> Iterator[Trainer]:
    trainer = Trainer(cloud, tmp_path)
    yield trainer
    trainer.kill()


async def until(holds: Callable[[], bool], trainer: Trainer) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, trainer.log()
        await asyncio.sleep(0.02)


async def recorded(cloud: Cloud, topic: str) -> list[TrainingRun]:
    found = []
    first, last = await cloud.cluster.offsets(topic, "earliest"), await cloud.cluster.offsets(topic, "latest")
    async for records in read_records(cloud.cluster, topic, 0, first[0], last[0]):
        found += [messages.decode(r.value, TrainingRun) for r in records if cloud.site.encode() in (r.value or b"")]
    return found


async def test_every_request_is_carried_out_once_over_kills(cloud: Cloud, trainer: Trainer) -> None:
    """SIGKILL after it was taken up, after the model was signed, and at random: each id has one of everything."""
    rows, rng, runs = healthy(3, 400, pumps=2), random.Random(SEED), Runs(cloud.settings)
    for asset in ("pump-1", "pump-2"):
        await cloud.send(asset, rows[f"lyon/{asset}"], cloud.site.encode())
    offsets = {cloud.readings: {"0": (0, 400), "1": (0, 400)}}
    ids = [f"{cloud.site}-{number}" for number in range(2)]
    for name in [*ids, ids[0]]:  # the first is asked for twice
        await asyncio.to_thread(runs.request, RetrainRequest(name, cloud.site, offsets))

    trainer.start()
    await until(lambda: ids[0] in runs.all(), trainer)
    trainer.kill()
    trainer.start()
    await until(lambda: bool(trainer.models.versions(cloud.site)), trainer)
    trainer.kill()
    trainer.start()
    await asyncio.sleep(rng.uniform(0.8, 2.0))  # a moment of its choice
    trainer.kill()
    trainer.start()

    def all_done() -> bool:
        known = runs.all()
        return all(known.get(name) is not None and known[name].state == "published" for name in ids)

    await until(all_done, trainer)
    trainer.kill()
    assert trainer.models.versions(cloud.site) == [1, 2]
    signed = [trainer.models.read(model_path(cloud.site, version, MANIFEST_FILE)) for version in (1, 2)]
    assert sorted(decode_manifest(one).request_id for one in signed) == ids
    written = await recorded(cloud, topics.TRAINING_RUNS)
    assert sorted(run.request_id for run in written if run.state == "published") == ids
    assert sorted(run.request_id for run in await recorded(cloud, topics.MODEL_EVENTS)) == ids
