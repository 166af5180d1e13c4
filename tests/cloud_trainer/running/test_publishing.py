"""`headwater train sites` on a real cluster and a real S3 server: from what sites have sent to a signed version."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from cloud_trainer.job import Job
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from headwater.contract import topics
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, decode_manifest, model_path
from headwater.transport.objects import ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.test_job import filled, recorded
from tests.services import S3Address


def command(folder: Path, cloud: Cloud, s3: S3Address, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As an operator or a container runs it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    given = {
        "HEADWATER_TRAINER__KAFKA__BROKERS": cloud.settings.brokers,
        "HEADWATER_TRAINER__OBJECTS__ENDPOINT": s3.endpoint,
        "HEADWATER_TRAINER__OBJECTS__BUCKET": s3.bucket,
        "HEADWATER_TRAINER__OBJECTS__ACCESS_KEY": s3.access_key,
        "HEADWATER_TRAINER__OBJECTS__SECRET_KEY": s3.secret_key,
        "HEADWATER_TRAINER__KEYS": str(folder / "keys"),
        "HEADWATER_TRAINER__WORKERS": "1",
    }
    program = [sys.executable, "-m", "headwater", "train", "sites", "--class", "pump", *arguments]
    return subprocess.run(
        program, capture_output=True, text=True, timeout=120, check=False, cwd=folder, env={**kept, **given}
    )


async def test_a_request_id_is_published_once(cloud: Cloud, s3: S3Address, tmp_path: Path) -> None:
    """A second version on the network of the first, told of on both topics; the same id again makes no third."""
    settings = ObjectSettings(
        endpoint=s3.endpoint, bucket=s3.bucket, access_key=s3.access_key, secret_key=SecretStr(s3.secret_key)
    )
    store = open_store(settings)
    await asyncio.to_thread(init_repository, store, tmp_path / "keys")
    models = Publisher(store, tmp_path / "keys", "models")
    request = await filled(cloud)
    await asyncio.to_thread(Job(cloud.settings, Runs(cloud.settings), models, Recipe()).run, request)
    (tmp_path / "offsets.json").write_text(json.dumps(request.offsets))
    arguments = ["--offsets", "offsets.json", "--request-id", f"{cloud.site}-sites"]

    refused = await asyncio.to_thread(command, tmp_path, cloud, s3, *arguments, "--version", "7")
    once = await asyncio.to_thread(command, tmp_path, cloud, s3, *arguments, "--json")
    again = await asyncio.to_thread(command, tmp_path, cloud, s3, *arguments, "--json")
    plain = await asyncio.to_thread(command, tmp_path, cloud, s3, *arguments)

    assert refused.returncode == 2
    assert "version 7 of pump is not published" in refused.stderr
    assert once.returncode == 0, once.stderr
    told = json.loads(once.stdout)
    assert (told["version"], told["network_of_version"], told["assets"]) == (2, 1, 2)
    assert json.loads(again.stdout) == {"version": 2, "before": True}
    assert "was published for" in plain.stdout
    assert "headwater fleet rollout start --class pump --version 2 --sites" in plain.stdout
    assert models.versions("pump") == [1, 2]
    first, second = (models.read(model_path("pump", version, MODEL_FILE)) for version in (1, 2))
    assert first == second
    manifest = decode_manifest(models.read(model_path("pump", 2, MANIFEST_FILE)))
    assert manifest.dataset.offsets == request.offsets
    for topic in (topics.TRAINING_RUNS, topics.MODEL_EVENTS):
        runs = await recorded(cloud, topic, f"{cloud.site}-sites")
        assert {(run.state, run.version) for run in runs} == {("published", 2)}
    assert len(await recorded(cloud, topics.MODEL_EVENTS, f"{cloud.site}-sites")) == 1
