"""What a model is called, and what made it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud_trainer.tracing import models
from headwater.app.cli import app
from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, Untrusted
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, model_path
from headwater.transport.code_version import said
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.cloud_trainer.rigs import write_rigs
from tests.edge_agent.scorer.models import make


@pytest.fixture
def published(tmp_path: Path) -> Publisher:
    """Versions 1 and 2 of pumps, in memory."""
    store = MemoryStore()
    init_repository(store, tmp_path / "keys")
    publisher = Publisher(store, tmp_path / "keys", "models")
    for version in (1, 2):
        data, manifest = make(version)
        paths = {MODEL_FILE: data, MANIFEST_FILE: manifest.encode()}
        publisher.publish({model_path("pump", version, file): content for file, content in paths.items()})
    return publisher


def test_a_published_model_is_found_by_every_name(published: Publisher) -> None:
    """`pump/1` is that version, `pump` the newest, and the begin of a SHA-256 the one with it."""
    first, second = (make(version)[1] for version in (1, 2))
    assert models.find_published(published, "pump/1").manifest == first
    assert models.find_published(published, "pump").manifest == second
    assert models.find_published(published, first.sha256[:12]).manifest == first
    for nothing in ("pump/3", "fan", "0" * 12, "../x"):
        with pytest.raises(BadInput):
            models.find_published(published, nothing)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """A folder whose .tflite is not the one of its manifest is no model."""
    data, manifest = make(1)
    (tmp_path / MODEL_FILE).write_bytes(data)
    (tmp_path / MANIFEST_FILE).write_bytes(manifest.encode())
    assert models.from_folder(tmp_path).manifest == manifest
    (tmp_path / MODEL_FILE).write_bytes(make(2)[0])
    with pytest.raises(Untrusted, match="its manifest says"):
        models.from_folder(tmp_path)


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    """The same data and configuration give the same .tflite in another process, with other hashes and threads.

    `explain` then names the digests, the recipe and the code that made it.
    """
    folder = write_rigs(tmp_path / "rigs", rigs=2, rows=400)
    made = []
    for number in (1, 2):
        out = tmp_path / f"out{number}"
        program = [sys.executable, "-m", "headwater", "train", "run", "--class", "rig"]
        threads = {"OMP_NUM_THREADS": str(number), "OPENBLAS_NUM_THREADS": str(number)}
        environment = {**os.environ, **threads, "PYTHONHASHSEED": str(number)}
        subprocess.run(
            [*program, "--folder", str(folder), "--out", str(out)], env=environment, check=True, capture_output=True
        )
        made.append((out / MODEL_FILE).read_bytes())
    assert made[0] == made[1]
    done = CliRunner().invoke(app, ["train", "explain", str(tmp_path / "out2"), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["model"]["sha256"] == sha256(made[0])
    assert told["code"] == json.loads((tmp_path / "out2" / MANIFEST_FILE).read_bytes())["code"]
    assert set(told["code"]) >= {"version", "sources"}
    assert told["dataset"]["offsets"]["rig-0.csv"] == {"0": [0, 400]}
    assert told["recipe"]["window"] == 20
    text = CliRunner().invoke(app, ["train", "explain", str(tmp_path / "out2")]).stdout
    assert told["dataset"]["sha256"] in text
    assert said(told["code"]) in text


def test_changed_sources_are_another_code_version(tmp_path: Path) -> None:
    """A checkout that was changed without a commit is told from the commit by the digest of its sources."""
    program = "from headwater.transport.code_version import code_version; print(code_version()['sources'])"
    root = Path(models.__file__).parents[2]
    for part in ("headwater", "cloud_trainer"):
        for path in (root / part).rglob("*.py"):
            copy = tmp_path / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())

    def sources() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=tmp_path, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    before = sources()
    with (tmp_path / "cloud_trainer/train.py").open("a") as file:
        file.write("# changed\n")
    assert sources() != before
