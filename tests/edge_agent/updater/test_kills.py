"""SIGKILL at any instant: desired.json never names what is not whole on disk."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.contract.canonical import sha256
from headwater.contract.desired import decode_desired, model_folder
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, decode_manifest
from headwater.transport.objects import FolderStore
from tests.edge_agent.scorer.models import CLASS
from tests.edge_agent.updater.site import SITE, Site

LIVES = 10
SEED = 20261121


def look(site: Site, stick: Path, kill_after_s: float | None) -> bool:
    """One look in a process of its own; whether it was killed."""
    order = {
        "settings": {"root_file": str(site.repo.keys / "root.json"), "objects": {"endpoint": f"file://{stick}"}},
        "site": SITE,
        "state": str(site.state),
    }
    child = subprocess.Popen([sys.executable, "-m", "edge_agent.updater.process"], stdin=subprocess.PIPE)
    try:
        child.communicate(json.dumps(order).encode(), timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return True
    assert child.returncode == 0
    return False


def check(state: Path) -> int:
    """Everything that desired.json names is on disk, whole; the version that runs."""
    [wanted] = decode_desired((state / "desired.json").read_bytes()).classes.values()
    folder = state / model_folder(CLASS, wanted.version)
    manifest = decode_manifest((folder / MANIFEST_FILE).read_bytes())
    assert sha256((folder / MODEL_FILE).read_bytes()) == manifest.sha256 == wanted.sha256
    assert sha256((folder / MANIFEST_FILE).read_bytes()) == wanted.manifest_sha256
    return wanted.version


@pytest.mark.slow
def test_killed_at_any_instant_it_leaves_a_version_that_runs(site: Site, tmp_path: Path) -> None:
    """Ten lives, each killed at a random instant while a new version arrives; the next whole life brings it."""
    chance = random.Random(SEED)
    stick = FolderStore(tmp_path / "stick" / "headwater")
    killed = 0
    for life in range(LIVES):
        site.ask(site.publish(life + 2))
        for key, data in sorted(site.repo.store.objects.items(), key=lambda item: "timestamp" in item[0]):
            stick.put(key, data)
        killed += look(site, tmp_path / "stick", chance.uniform(0.2, 1.2))
        assert check(site.state) in range(1, life + 3)
    assert not look(site, tmp_path / "stick", None)
    assert check(site.state) == LIVES + 1
    assert killed, "nothing was killed: the campaign proved nothing"
