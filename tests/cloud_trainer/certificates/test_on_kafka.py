"""A run that a runtime does not certify publishes nothing, on a real cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cloud_trainer.job import Job
from cloud_trainer.recipe import Recipe
from cloud_trainer.runs import Runs
from headwater.contract.manifest import MANIFEST_FILE, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.certificates.environments import HERE
from tests.cloud_trainer.cloud import Cloud
from tests.cloud_trainer.test_job import filled


async def test_a_run_publishes_with_every_certificate_or_not_at_all(cloud: Cloud, tmp_path: Path) -> None:
    """An interpreter without a runtime fails the run by name and signs nothing; with a runtime its class is signed."""
    store = MemoryStore()
    init_repository(store, tmp_path / "keys")
    models = Publisher(store, tmp_path / "keys", "models")
    request = await filled(cloud)

    missing = Job(cloud.settings, Runs(cloud.settings), models, Recipe(), runtimes=(HERE, Path("/bin/false")))
    run = await asyncio.to_thread(missing.run, request)
    assert run.state == "failed"
    assert "/bin/false has no runtime" in run.detail
    assert "make parity-envs" in run.detail
    assert models.versions("pump") == []

    again = Job(cloud.settings, Runs(cloud.settings), models, Recipe(), runtimes=(HERE,))
    other = RetrainRequest(f"{request.request_id}-2", "pump", request.offsets)
    run = await asyncio.to_thread(again.run, other)
    assert run.state == "published"
    manifest = decode_manifest(models.read(model_path("pump", 1, MANIFEST_FILE)))
    assert [each.windows >= 10_000 for each in manifest.certificates] == [True]
