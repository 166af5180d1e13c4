"""The champion is what the sites run, else the newest version; damage in the store does not end a class."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from cloud_trainer.datasets.building import from_folder
from cloud_trainer.job import Job
from cloud_trainer.judging.champion import champion_of
from cloud_trainer.local import write
from cloud_trainer.making import certified, make
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from cloud_trainer.tracing import models
from fleet import documents
from fleet.documents import Documents
from headwater.app.cli import app
from headwater.contract.errors import GateFailed, HeadwaterError, Untrusted
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, model_path
from headwater.contract.messages import RetrainRequest
from headwater.transport.objects import ObjectSettings, open_store
from headwater.transport.registry.layout import target_key
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.plant import healthy
from tests.cloud_trainer.rigs import write_rigs


class Registry:
    """A signed repository in a folder, with versions of `rig` that all have the same network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.endpoint = (folder / "store").as_uri()
        self.store = open_store(ObjectSettings(endpoint=self.endpoint))
        init_repository(self.store, folder / "keys")
        self.signed = Publisher(self.store, folder / "keys", "models")
        self.rollouts = Documents(Publisher(self.store, folder / "keys", "rollout"))
        self.recordings = write_rigs(folder / "rigs", rigs=5, rows=1200, fault=6.0, labels=True)
        made = certified(make(from_folder(self.recordings, "rig", "lab", 600), Recipe()), ())
        self.model = folder / "model"
        write(made, "rigs", 1, self.model)

    def publish(self, *versions: int) -> None:
        like = models.from_folder(self.model)
        for version in versions:
            manifest = msgspec.structs.replace(like.manifest, version=version, request_id=f"rig-{version}")
            files = {MODEL_FILE: like.data, MANIFEST_FILE: manifest.encode()}
            self.signed.publish({model_path("rig", version, name): data for name, data in files.items()})

    def damage(self, path: str) -> None:
        """Change the bytes of what lies in the store, as long as before."""
        key = target_key(path, self.signed.targets(path)[path].sha256)
        found = self.store.get(key, max_bytes=1 << 20)
        assert found is not None
        self.store.put(key, found.data[:-1] + bytes([found.data[-1] ^ 1]))

    def roll_out(self, version: int, state: str) -> None:
        target = self.rollouts.target("rig", version)
        begun = documents.begin(self.rollouts.current("rig"), "rig", target, ["lyon"], "")
        first = documents.reach(begun, 1)
        self.rollouts.publish(first)
        if state != "running":
            self.rollouts.publish(documents.changed(first, state=state))

    def champion(self) -> tuple[int, str]:
        found = champion_of(self.signed, "rig")
        assert found is not None
        return found.model.manifest.version, found.why

    def call(self, *arguments: str) -> Any:
        """`headwater train …`; what it prints as JSON."""
        environment = {
            **os.environ,
            "HEADWATER_TRAINER__OBJECTS__ENDPOINT": self.endpoint,
            "HEADWATER_TRAINER__KEYS": str(self.folder / "keys"),
        }
        done = CliRunner().invoke(app, ["train", *arguments, "--json"], env=environment)
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def test_the_champion_is_what_the_rollouts_left_in_the_field(registry: Registry) -> None:
    """A newer version that was published, is under way or was taken back is none; without a rollout the newest is."""
    assert champion_of(registry.signed, "rig") is None
    registry.publish(1, 2, 3)
    assert registry.champion() == (3, "the champion is version 3, the newest; no rollout has left one in the field")
    registry.roll_out(1, "complete")
    assert registry.champion()[0] == 1
    registry.roll_out(3, "running")
    version, why = registry.champion()
    assert version == 1
    assert "the one in the field (rollout rig-3-" in why
    assert why.endswith("is running)")
    running = registry.rollouts.current("rig")
    assert running is not None
    registry.rollouts.publish(documents.changed(running, state="cancelled"))
    assert registry.champion()[0] == 1
    registry.roll_out(2, "complete")
    assert registry.champion()[0] == 2


def test_a_version_that_does_not_read_back_is_passed_over(registry: Registry) -> None:
    """Whether it is the newest or the one in the field; the reason says so, and the way out of none is named."""
    registry.publish(1, 2, 3)
    registry.damage(model_path("rig", 3, MODEL_FILE))
    version, why = registry.champion()
    assert version == 2
    assert why.endswith("version 3 is passed over: models/rig/3/model.tflite has other bytes than were signed")
    registry.roll_out(1, "complete")
    assert registry.champion()[0] == 1
    registry.damage(model_path("rig", 1, MODEL_FILE))
    assert registry.champion()[0] == 2
    registry.damage(model_path("rig", 2, MODEL_FILE))
    with pytest.raises(Untrusted, match="no published version of rig reads back") as raised:
        champion_of(registry.signed, "rig")
    assert "--unjudged" in raised.value.hint


def test_a_damaged_manifest_passes_the_word_to_the_version_before(registry: Registry) -> None:
    """The champion, the model of the bare name, and the search for a request do without it."""
    registry.publish(1, 2, 3)
    registry.roll_out(2, "complete")
    registry.damage(model_path("rig", 3, MANIFEST_FILE))
    assert models.find_published(registry.signed, "rig").manifest.version == 2
    assert [one.version for one in models.manifests(registry.signed, "rig")] == [2, 1]
    registry.damage(model_path("rig", 2, MANIFEST_FILE))
    version, why = registry.champion()
    assert version == 1
    assert why.startswith("the champion is version 1, the newest that reads back; version 2 is passed over: models/rig")
    registry.damage(model_path("rig", 1, MANIFEST_FILE))
    with pytest.raises(HeadwaterError, match=r"models/rig/3/manifest\.json has other bytes than were signed"):
        models.find_published(registry.signed, "rig")


def test_publishing_goes_on_beside_a_damaged_version(registry: Registry) -> None:
    """`compare rig` and `publish` mean the same champion, and say which and why; the way out of none is named."""
    registry.publish(1, 2)
    registry.damage(model_path("rig", 2, MANIFEST_FILE))
    folder = str(registry.model)
    where = ["--folder", str(registry.recordings), "--behind", "600", "--site", "lab"]
    decided = registry.call("compare", "rig", folder, *where)
    assert decided["champion"]["version"] == 1
    assert "version 2 is passed over" in decided["notes"][0]
    with pytest.raises(GateFailed, match="the judge says undecided"):  # the champion is found; the same model ties
        registry.call("publish", folder, "--dry-run")
    registry.damage(model_path("rig", 1, MANIFEST_FILE))
    with pytest.raises(Untrusted, match="no published version of rig reads back") as raised:
        registry.call("publish", folder, "--dry-run")
    assert "--unjudged" in raised.value.hint
    assert registry.call("publish", folder, "--dry-run", "--unjudged", "--reason", "none reads back")["version"] == 3


async def test_the_service_trains_on_beside_a_damaged_version(cloud: Cloud, registry: Registry) -> None:
    """The next request is judged against the newest version that reads back, and its outcome says which that was."""
    for key, rows in healthy(3, 2000, pumps=2).items():
        await cloud.send(key.partition("/")[2], rows)
    offsets = {cloud.readings: {"0": (0, 2000), "1": (0, 2000)}}
    job = Job(cloud.settings, Runs(cloud.settings), registry.signed, Recipe())

    async def run(number: int) -> tuple[str, int | None, str]:
        request = RetrainRequest(f"{cloud.site}-{number}", "pump", offsets, "test", "because")
        found = await asyncio.to_thread(job.run, request)
        return found.state, found.version, found.detail

    assert [await run(number) for number in (1, 2)] == [
        ("published", 1, ""),
        ("published", 2, "judged against version 1"),
    ]
    for name in (MODEL_FILE, MANIFEST_FILE):
        registry.damage(model_path("pump", 2, name))
    assert await run(3) == ("published", 3, "judged against version 1")
