"""`headwater edge status`: what the updater last met, and when that is a reason to call for help."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from edge_agent import status
from edge_agent.parts import _updater_once as run_updater_once
from edge_agent.scorer.status import _COUNTS, VOID
from edge_agent.settings import EdgeSettings
from edge_agent.status_text import COUNTS, lines
from edge_agent.updater.cycle import once
from headwater.contract.desired import Desired, UpdaterState
from headwater.contract.errors import BadSetting, Refused, Unreachable
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.objects import FolderStore, MemoryStore
from headwater.transport.objects.store import Object
from tests.edge_agent.box import free_port
from tests.edge_agent.updater.site import SITE, Site


def settings(folder: Path) -> EdgeSettings:
    kafka = KafkaSettings(brokers=f"127.0.0.1:{free_port()}", request_timeout_s=1)
    return EdgeSettings(site=SITE, state_dir=folder, kafka=kafka)


def test_an_updater_without_a_root_of_trust_is_said_and_fails_the_check(tmp_path: Path, site: Site) -> None:
    """What runs keeps running; the text has the error, and --check fails."""
    edge = settings(tmp_path)
    (edge.folder / "bridge.ready").parent.mkdir(parents=True)
    (edge.folder / "bridge.ready").write_text(json.dumps({"pid": os.getpid()}))
    missing = site.updater_settings().model_copy(update={"root_file": tmp_path / "nowhere.json"})
    with pytest.raises(BadSetting):
        once(missing, SITE, edge.folder, site.repo.store)

    found = status.report(edge)
    assert found["desired"]["updater"]["phase"] == "stuck"
    [updater] = [line for line in lines(found) if line.startswith("updater")]
    assert "cannot go on by itself" in updater
    assert "nowhere.json" in updater
    found |= {"problems": found["problems"][1:], "status": {"at": time.time() * 1000}}  # but for Kafka, which is away
    with pytest.raises(Unreachable, match=r"the updater cannot look for new models: .*nowhere\.json"):
        status.check(edge, found)


def test_a_store_that_is_away_fails_no_check(tmp_path: Path) -> None:
    """It is said, and that is all: the edge lives on with what it has."""
    edge = settings(tmp_path)
    edge.folder.mkdir(parents=True)
    (edge.folder / "bridge.ready").write_text(json.dumps({"pid": os.getpid()}))
    told = UpdaterState("waiting", "S3 does not answer", checked_at=time.time_ns() // 1_000_000)
    (edge.folder / "desired.json").write_bytes(Desired(updater=told).encode())

    found = status.report(edge)
    assert any("waits and tries again" in line and "S3 does not answer" in line for line in lines(found))
    found |= {"problems": found["problems"][1:], "status": {"at": time.time() * 1000}}
    status.check(edge, found)


class Denies(MemoryStore):
    """Answers no request with these keys."""

    def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
        raise Refused("S3 denies it (InvalidAccessKeyId)")


def test_what_heals_and_what_does_not(site: Site) -> None:
    """Refused keys and a root that vouches for nothing need somebody; a renewed signature comes by itself."""
    good = site.repo.store
    site.repo.store = Denies()
    found = site.look()
    assert (found.updater.phase, found.classes["pump"].version) == ("stuck", 1)
    assert "InvalidAccessKeyId" in found.updater.last_error
    site.repo.store = good
    assert site.look().updater.phase == "idle"
    site.expire("timestamp")
    assert site.look().updater.phase == "waiting"


def test_every_count_has_words() -> None:
    """No key name of JSON is shown to people."""
    assert set(COUNTS) == {*_COUNTS, VOID}
    counts = {"counts": {"before_model": 7}}
    found = {"site": "lyon", "bridge_pid": None, "desired": None, "problems": [], "status": counts}
    assert "count     7 readings that came before there was a model" in lines(found)


def test_a_look_by_hand_says_what_came_of_it(tmp_path: Path, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """What was placed, that nothing is new, and that no rollout names this site."""
    objects = {"endpoint": f"file://{tmp_path}/stick"}
    updater = {"root_file": site.repo.keys / "root.json", "objects": objects, "asset_classes": ("pump",)}
    edge = EdgeSettings.model_validate({"site": SITE, "state_dir": tmp_path, "updater": updater})
    for key, data in site.repo.store.objects.items():
        FolderStore(tmp_path / "stick/headwater").put(key, data)
    for said in ("placed now", "nothing new"):
        run_updater_once(edge)
        assert capsys.readouterr().out.splitlines()[-1] == f"pump: version 1, {said}"
    run_updater_once(edge.model_copy(update={"asset_classes": ("fan",), "site": "other"}))
    assert capsys.readouterr().out.splitlines()[-1] == "no rollout has reached other yet: there is nothing to run"
