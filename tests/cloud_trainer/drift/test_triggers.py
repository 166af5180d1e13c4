"""What asks for training by itself asks once, on a real cluster."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from cloud_trainer.drift.settings import DriftRecipe, Scheduled
from cloud_trainer.drift.triggers import Triggers
from cloud_trainer.runs import Runs
from headwater.contract import messages, topics
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, model_path
from headwater.contract.messages import TrainingRun
from headwater.contract.sketches import LEVEL_EDGES, Sketch, channel_of
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Out
from headwater.transport.objects import MemoryStore, ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud, now_ms
from tests.edge_agent.scorer.models import make

RECIPE = DriftRecipe(readings=2000, rest_h=0)
DAY = 86_400


@pytest.fixture
def models(cloud: Cloud, tmp_path: Path) -> Publisher:
    """Version 1 of a class named after the test, with a reference."""
    store = MemoryStore()
    init_repository(store, tmp_path / "keys")
    publisher = Publisher(store, tmp_path / "keys", "models")
    publish(publisher, cloud.site, 1)
    return publisher


def publish(models: Publisher, asset_class: str, version: int) -> None:
    data, manifest = make(version, asset_class=asset_class)
    reference = {"flow": list(channel_of(np.random.default_rng(0).normal(0, 1, 20_000)).bins)}
    manifest = msgspec.structs.replace(manifest, metrics={"reference": reference})
    files = {MODEL_FILE: data, MANIFEST_FILE: manifest.encode()}
    models.publish({model_path(asset_class, version, name): content for name, content in files.items()})


async def send(cloud: Cloud, version: int, shift: float) -> None:
    """Three sketches of one asset."""
    topic = topics.remote(cloud.site, topics.SKETCHES)
    await asyncio.to_thread(ensure_topics, cloud.settings, [TopicSpec(topic, 1)])
    rng, outs = np.random.default_rng(1), []
    for number in range(3):
        first = (10 * version + number) * 1000
        ends = (first, first + 999, first * 1000, (first + 999) * 1000, 1000)
        channels, levels = {"flow": channel_of(rng.normal(shift, 1, 1000))}, (0,) * (len(LEVEL_EDGES) + 1)
        sketch = Sketch(cloud.site, "pump-1", cloud.site, version, 0, *ends, channels, levels)
        outs.append(Out(b"pump-1", messages.encode(sketch), (), now_ms()))
    await cloud.put(topic, 0, [*outs, Out(b"x", b"no sketch", (), now_ms())])


async def test_one_drift_asks_once(cloud: Cloud, models: Publisher) -> None:
    """Found in sketches, it is requested with its reason; no later look and no restart asks again.

    A version that was trained since is measured anew, and asks again when it has drifted.
    """
    runs = Runs(cloud.settings)
    triggers = Triggers(cloud.settings, runs, models, (), RECIPE)
    assert await asyncio.to_thread(triggers.look) == []
    await send(cloud, 1, 1.5)
    (asked,) = [one for one in await asyncio.to_thread(triggers.look) if one.asset_class == cloud.site]
    assert asked.request_id == f"drift-{cloud.site}-v1"
    assert "PSI" in asked.reason
    assert (await asyncio.to_thread(runs.requests))[asked.request_id] == asked
    assert await asyncio.to_thread(triggers.look) == []
    again = Triggers(cloud.settings, runs, models, (), RECIPE)
    assert [one for one in await asyncio.to_thread(again.look) if one.asset_class == cloud.site] == []
    publish(models, cloud.site, 2)
    assert await asyncio.to_thread(triggers.look) == []
    await send(cloud, 2, 0.0)
    assert await asyncio.to_thread(triggers.look) == []


async def test_a_schedule_asks_once_a_period(cloud: Cloud, models: Publisher) -> None:
    """Whoever looks first within a period asks; two trainers and a restart ask for nothing more."""
    runs = Runs(cloud.settings)
    schedule = (Scheduled(asset_class=cloud.site, every_h=24),)

    def look(day: float) -> list[str]:
        one = Triggers(cloud.settings, runs, models, schedule, RECIPE)
        return [each.request_id for each in one.look(day * DAY)]

    assert await asyncio.to_thread(look, 20_000.2) == [f"schedule-{cloud.site}-20241004T000000Z"]
    assert await asyncio.to_thread(look, 20_000.9) == []
    assert await asyncio.to_thread(look, 20_001.0) == [f"schedule-{cloud.site}-20241005T000000Z"]


async def test_a_cluster_that_is_away_is_looked_at_again(cloud: Cloud, models: Publisher) -> None:
    """A look that cannot be made is no end of the trainer."""
    away = cloud.settings.model_copy(update={"brokers": "127.0.0.1:9", "connect_timeout_s": 0.3})
    assert await asyncio.to_thread(Triggers(away, Runs(cloud.settings), models, (), RECIPE).look) == []


def started(environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "headwater", "train", "serve"], env=environment, cwd=folder)


async def test_a_running_trainer_keeps_its_schedule(cloud: Cloud, tmp_path: Path) -> None:
    """`train serve` asks by itself and carries it out; what cannot succeed is an outcome like any other."""
    store = ObjectSettings(endpoint=(tmp_path / "store").as_uri())
    init_repository(open_store(store), tmp_path / "keys")
    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__OBJECTS__ENDPOINT": (tmp_path / "store").as_uri(),
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "keys"),
        "HEADWATER_TRAINER__GROUP": cloud.site,
        "HEADWATER_TRAINER__LOOK_S": "0.2",
        "HEADWATER_TRAINER__SCHEDULE": f'[{{"asset_class": "{cloud.site}", "every_h": 1000000}}]',
    }
    await cloud.send("pump-1", [(1000, {"flow": 1.0})], cloud.site.encode())
    runs = Runs(cloud.settings)
    with started(environment, tmp_path) as one:
        try:
            deadline, mine = time.monotonic() + 30, list[TrainingRun]()
            while not any(run.state == "failed" for run in mine):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
                mine = [run for run in (await asyncio.to_thread(runs.all)).values() if run.asset_class == cloud.site]
        finally:
            one.kill()
    assert [run.request_id for run in mine] == [f"schedule-{cloud.site}-19700101T000000Z"]


async def test_a_young_version_rests(cloud: Cloud, models: Publisher) -> None:
    """A process that wanders on does not ask for a model an hour: the newest one must be a day old."""
    await send(cloud, 1, 1.5)
    runs, recipe = Runs(cloud.settings), DriftRecipe(readings=2000, rest_h=24)
    made = datetime.fromisoformat(make(1)[1].created_at).timestamp()

    def look(hours: float) -> list[str]:
        found = Triggers(cloud.settings, runs, models, (), recipe).look(made + hours * 3600)
        return [one.request_id for one in found if one.asset_class == cloud.site]

    assert await asyncio.to_thread(look, 23) == []
    assert await asyncio.to_thread(look, 25) == [f"drift-{cloud.site}-v1"]
