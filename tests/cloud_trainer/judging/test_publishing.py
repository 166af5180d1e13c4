"""What is published passed its judge; what was decided is in the log."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from typer.testing import CliRunner

from cloud_trainer.datasets.building import from_folder
from cloud_trainer.judging.decision import Decision
from cloud_trainer.local import write
from cloud_trainer.making import certified, make
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from headwater.app.cli import app
from headwater.contract.errors import BadInput, GateFailed
from headwater.transport.objects import ObjectSettings, open_store
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.rigs import write_rigs

Call = Callable[..., Any]


@pytest.fixture
def call(cloud: Cloud, tmp_path: Path) -> Call:
    """`headwater train …` with a store of its own; its JSON, or what people see."""
    store = (tmp_path / "store").as_uri()
    init_repository(open_store(ObjectSettings(endpoint=store)), tmp_path / "keys")
    environment = {
        **os.environ,
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__OBJECTS__ENDPOINT": store,
        "HEADWATER_TRAINER__KEYS": str(tmp_path / "keys"),
    }

    async def run(*arguments: str, plain: bool = False) -> Any:
        form = () if plain else ("--json",)
        done = await asyncio.to_thread(CliRunner().invoke, app, ["train", *arguments, *form], env=environment)
        if done.exception is not None:
            raise done.exception
        return done.stdout if plain else json.loads(done.stdout)

    return run


async def test_a_model_is_published_when_the_judge_prefers_it(cloud: Cloud, call: Call, tmp_path: Path) -> None:
    """The first of a class needs no judge; later ones need a decision for them, against the version of today."""
    rigs = write_rigs(tmp_path / "rigs", rigs=5, rows=2400, fault=6.0, labels=True)

    def train(name: str, recipe: Recipe) -> Path:
        made = certified(make(from_folder(rigs, "rig", "lab", 600), recipe), ())
        write(made, f"{cloud.site}-{name}", 1, tmp_path / name)
        return tmp_path / name

    deaf, good = [
        await asyncio.to_thread(train, name, recipe)
        for name, recipe in (("deaf", Recipe(margin=50.0)), ("good", Recipe()))
    ]
    dry = await call("publish", str(deaf), "--dry-run")
    assert dry["version"] == 1
    first = await call("publish", str(deaf))
    assert (first["version"], first["state"]) == (1, "published")
    assert await call("publish", str(deaf)) == {**first, "detail": "was published before", "at": ANY, "seconds": ANY}
    said = await call("publish", str(deaf), plain=True)
    assert said.startswith("rig version 1 was published before: ")
    assert "headwater fleet rollout start --class rig --version 1 --sites" in said

    with pytest.raises(GateFailed, match="was not judged"):
        await call("publish", str(good))
    where = ["--folder", str(rigs), "--behind", "600", "--site", "lab"]
    decided = await call("compare", "rig", str(good), *where, "--record")
    assert decided["verdict"] == "promote"
    would = await call("publish", str(good), "--dry-run", plain=True)
    assert "rig version 2 would be published" in would
    assert "the champion is version 1, the newest; no rollout has left one in the field" in would
    second = await call("publish", str(good))
    assert second["version"] == 2
    told = await call("explain", "rig/2")
    assert told["judge"] == {"sha256": decided["sha256"], "verdict": "promote", "champion": 1}
    assert told["run"]["version"] == 2
    with pytest.raises(GateFailed, match="about other models"):
        await call("publish", str(renamed(good)))
    worse = await call("compare", "rig", str(renamed(deaf)), *where)
    assert worse["verdict"] == "keep"
    with pytest.raises(GateFailed, match="the judge says keep"):
        await call("publish", str(deaf))
    with pytest.raises(BadInput, match="needs a reason"):
        await call("publish", str(deaf), "--unjudged")

    runs = await asyncio.to_thread(Runs(cloud.settings).all)
    assert runs[f"{cloud.site}-good"].version == 2
    judged = [run for run in runs.values() if run.judge is not None and run.asset_class == "rig"]
    records = [msgspec.convert(run.judge, Decision) for run in judged]
    assert decided["sha256"] in {one.digest() for one in records}


def renamed(folder: Path) -> Path:
    """The same model from another request."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "request_id": f"{manifest['request_id']}-again"}))
    return folder
