"""The service publishes no version that alarms more than the one before, beyond chance, on healthy readings."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_trainer.judging import gate, material
from cloud_trainer.recipe import Recipe
from cloud_trainer.tracing import models
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, model_path
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.rigs import train_rigs, write_rigs


def test_a_version_with_more_false_alarms_is_not_published(tmp_path: Path) -> None:
    """Worse beyond chance is refused with the figures; as good as before is published with the decision's digest."""
    store = MemoryStore()
    init_repository(store, tmp_path / "store-keys")
    published = Publisher(store, tmp_path / "store-keys", "models")
    rigs = write_rigs(tmp_path / "rigs", rigs=6, rows=3000)
    learn = material.from_recordings(rigs, "rig", "lab").learn
    quiet = models.from_folder(train_rigs(rigs, tmp_path / "quiet", rows=600))
    loud = models.from_folder(train_rigs(rigs, tmp_path / "loud", rows=600, recipe=Recipe(margin=1.01, floor=0.0)))
    assert gate.judged(published, learn, quiet.manifest, quiet.data) is None
    files = {MODEL_FILE: quiet.data, MANIFEST_FILE: quiet.manifest_bytes}
    published.publish({model_path("rig", 1, name): data for name, data in files.items()})

    worse = gate.judged(published, learn, loud.manifest, loud.data)
    assert worse is not None
    with pytest.raises(GateFailed, match="the judge keeps version 1: alarms_per_week grows"):
        gate.consented(worse, loud.manifest)
    same = gate.judged(published, learn, quiet.manifest, quiet.data)
    assert same is not None
    assert same.notes[0].startswith("the champion is version 1, the newest")
    manifest = gate.consented(same, quiet.manifest)
    assert manifest.metrics["judge"] == {"sha256": same.digest(), "verdict": "undecided", "champion": 1}
    assert gate.against(manifest) == "judged against version 1"
    assert same.as_run().state == "judged"
