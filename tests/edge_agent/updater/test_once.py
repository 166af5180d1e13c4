"""`headwater edge updater --once`: its exit code says what became of the look, and so does the status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.app.cli import main
from headwater.contract.desired import UpdaterState, decode_desired
from headwater.transport.objects import FolderStore
from headwater.transport.registry.layout import TIMESTAMP_KEY
from tests.edge_agent.updater.site import SITE, Site
from tests.transport.registry.fleet_repo import Repo


class Box:
    """A site with settings from the environment, and its store in a folder."""

    def __init__(self, site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "home" / "edge").mkdir(parents=True)
        self.site, self._stick, self._set = site, folder / "stick", monkeypatch.setenv
        site.state = site.state.rename(folder / "home" / "edge" / SITE)
        for name, value in {
            "HOME": str(folder / "home"),
            "EDGE__SITE": SITE,
            "EDGE__ASSET_CLASSES": json.dumps(["pump"]),
            "EDGE__UPDATER__ROOT_FILE": str(site.repo.keys / "root.json"),
            "EDGE__UPDATER__OBJECTS__ENDPOINT": f"file://{self._stick}",
        }.items():
            self.set(name, value)

    def set(self, name: str, value: str) -> None:
        self._set(f"HEADWATER_{name}", value)

    def once(self) -> int:
        """The exit code of one look at what the store has now."""
        store = FolderStore(self._stick / "headwater")
        for key, data in self.site.repo.store.objects.items():
            store.put(key, data)
        with pytest.raises(SystemExit) as ended:
            main(["edge", "updater", "--once"])
        return int(ended.value.code or 0)

    def told(self) -> UpdaterState:
        return decode_desired((self.site.state / "desired.json").read_bytes()).updater


@pytest.fixture
def box(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A box that runs version 1."""
    return Box(site, tmp_path / "box", monkeypatch)


def test_a_look_that_worked_is_0(box: Box) -> None:
    """Nothing new, or a new version."""
    assert box.once() == 0
    box.site.ask(box.site.publish(2))
    assert (box.once(), box.site.running(), box.told().freshness) == (0, 2, "fresh")


def test_a_refused_model_is_6(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    """At that look and at each later one, until another rollout document; what ran keeps running."""
    box.site.ask(box.site.publish(2, spoilt=True))
    assert [box.once(), box.once()] == [6, 6]
    assert "refused version 2 of pump" in capsys.readouterr().err
    assert box.site.running() == 1
    box.site.ask(box.site.publish(3))
    assert (box.once(), box.site.running()) == (0, 3)


def test_an_expired_signature_is_7(box: Box) -> None:
    """Frozen, and nothing is stopped."""
    box.site.expire("timestamp")
    assert (box.once(), box.told().freshness, box.site.running()) == (7, "frozen", 1)


def test_metadata_that_went_back_is_7(box: Box) -> None:
    """A replayed timestamp is not called fresh."""
    old = box.site.repo.store.objects[TIMESTAMP_KEY]
    box.site.ask(box.site.publish(2))
    assert box.once() == 0
    box.site.repo.store.objects[TIMESTAMP_KEY] = old
    assert (box.once(), box.told().freshness) == (7, "unverified")


def test_a_root_of_another_fleet_is_7(box: Box, tmp_path: Path) -> None:
    """What the store has does not follow from it: unverified, although the last good look was a moment ago."""
    assert box.once() == 0
    other = Repo(tmp_path / "other")
    box.set("EDGE__UPDATER__ROOT_FILE", str(other.keys / "root.json"))
    assert (box.once(), box.told().freshness) == (7, "unverified")


def test_a_root_that_cannot_be_read_is_2(box: Box) -> None:
    """The setting is named by its file; the status does not say fresh."""
    assert (box.once(), box.told().freshness) == (0, "fresh")
    box.set("EDGE__UPDATER__ROOT_FILE", "/nowhere/root.json")
    assert (box.once(), box.told().freshness) == (2, "unverified")


def test_a_store_that_is_away_is_5(box: Box) -> None:
    """As everywhere else."""
    box.set("EDGE__UPDATER__OBJECTS__ENDPOINT", "http://127.0.0.1:9")
    box.set("EDGE__UPDATER__OBJECTS__ACCESS_KEY", "a")
    box.set("EDGE__UPDATER__OBJECTS__SECRET_KEY", "b")
    box.set("EDGE__UPDATER__OBJECTS__ATTEMPTS", "1")
    assert (box.once(), box.told().freshness) == (5, "unreachable")
