"""The updater against a signed repository: what is good arrives, what is bad is refused, what ran keeps running."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from edge_agent.updater.cycle import once
from edge_agent.updater.process import run
from headwater.contract.canonical import canonical_json, sha256
from headwater.contract.errors import BadSetting, Conflict, Unreachable
from headwater.contract.manifest import MODEL_FILE
from headwater.contract.rollout import Target, rollout_path
from headwater.transport.objects import FolderStore, MemoryStore, Object, ObjectSettings
from tests.edge_agent.scorer.models import CLASS, make
from tests.edge_agent.updater.site import SITE, Site


def test_a_version_arrives(site: Site) -> None:
    """The files lie where the scorer looks, and desired.json says how they came."""
    wanted = site.look().classes[CLASS]
    data, manifest = make(1)
    assert site.model_file(1).read_bytes() == data
    assert (wanted.version, wanted.sha256, wanted.generation) == (1, sha256(data), 1)
    assert (wanted.source, wanted.fetched_bytes) == ("download", len(data) + len(manifest.encode()))
    assert site.look().updater.fetched_bytes == wanted.fetched_bytes
    assert site.look().updater.freshness == "fresh"
    assert site.look().refused == []


def test_an_edge_without_a_rollout_waits(empty_site: Site) -> None:
    """Published models alone move nobody."""
    empty_site.publish(1)
    assert empty_site.look().classes == {}


def test_a_new_generation_of_the_same_version_changes_nothing_that_runs(site: Site) -> None:
    """The scorer is not asked to swap to what it has."""
    before = site.look().classes[CLASS]
    site.ask(Target(1, before.sha256))
    assert site.look().classes[CLASS] == msgspec.structs.replace(before, generation=2)


@pytest.mark.parametrize("forget", ["nothing", "trust", "desired.json"])
def test_an_older_generation_is_never_obeyed(site: Site, forget: str) -> None:
    """Not even after the cache of metadata or desired.json was lost: the floor is kept apart."""
    old = dict(site.repo.store.objects)
    site.ask(site.publish(2))
    site.look()
    site.repo.store.objects = old
    if forget == "trust":
        shutil.rmtree(site.state / "trust")
    if forget == "desired.json":
        shutil.rmtree(site.state / "trust")
        (site.state / "desired.json").unlink()
    found = site.look()
    assert ("went back" if forget != "nothing" else "New timestamp version") in found.updater.last_error
    assert CLASS not in found.classes if forget == "desired.json" else found.classes[CLASS].version == 2


@pytest.mark.parametrize("role", ["timestamp", "models"])
def test_expired_metadata_blocks_what_is_new_and_nothing_else(site: Site, role: str) -> None:
    """The edge keeps its version, says so, and moves on once the signatures are renewed."""
    site.ask(site.publish(2))
    signed = site.repo.document(role).signed.expires
    site.expire(role)
    found = site.look()
    assert found.classes[CLASS].version == 1
    assert "expired" in found.updater.last_error
    assert found.updater.freshness == ("frozen" if role == "timestamp" else "fresh")
    assert found.refused == []
    site.repo.forge(role, lambda s: setattr(s, "expires", signed), [f"{role}-1"])
    assert site.look().classes[CLASS].version == 2


class Fails(MemoryStore):
    """A store that is away, as often as it is told."""

    def __init__(self, objects: dict[str, bytes], word: str) -> None:
        super().__init__()
        self.objects = objects
        self.word = word

    def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
        if self.word in key:
            raise Unreachable("the link is down")
        return super().get(key, max_bytes=max_bytes, offset=offset, if_match=if_match)


@pytest.mark.parametrize("word", ["timestamp", "snapshot", "models.json", "rollout.json", "targets/rollout", "tflite"])
def test_a_link_that_breaks_anywhere_is_waited_for(site: Site, word: str) -> None:
    """Cut at any file: no refusal, no change; with the link comes the version."""
    site.ask(site.publish(2))
    store = site.repo.store
    site.repo.store = Fails(store.objects, word)
    found = site.look()
    assert found.classes[CLASS].version == 1
    assert found.refused == []
    assert "link is down" in found.updater.last_error
    assert found.updater.phase == "waiting"
    site.repo.store = store
    assert site.look().classes[CLASS].version == 2
    assert site.look().updater.last_error == ""


def test_a_content_that_is_not_there_yet_is_waited_for(site: Site) -> None:
    """A half-copied USB stick is no reason to refuse a version for good."""
    site.ask(site.publish(2))
    content = site.repo.store.objects.pop(site.content(2))
    key = f"targets/models/{CLASS}/2/{sha256(content)}.{MODEL_FILE}"
    assert site.look().refused == []
    site.repo.store.objects[key] = content
    assert site.look().classes[CLASS].version == 2


def test_classes_do_not_hold_each_other_up(site: Site) -> None:
    """A class whose document is bad leaves the other one alone."""
    site.repo.publisher("rollout").publish({rollout_path("fan", 1): b"nonsense"})
    site.ask(site.publish(2))
    settings = site.updater_settings().model_copy(update={"asset_classes": ("fan", CLASS)})
    found = once(settings, SITE, site.state, site.repo.store)
    assert found.classes[CLASS].version == 2
    assert [refusal.asset_class for refusal in found.refused] == ["fan"]


def test_one_updater_a_state_folder(site: Site) -> None:
    """A second one ends with a sentence."""
    descriptor = os.open(site.state / "updater.lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="another updater"):
            site.look()
    finally:
        os.close(descriptor)


def test_without_a_root_of_trust_nothing_starts(tmp_path: Path, site: Site) -> None:
    """The message names the file and where it comes from."""
    settings = site.updater_settings().model_copy(update={"root_file": tmp_path / "nowhere.json"})
    with pytest.raises(BadSetting, match=r"nowhere\.json"):
        once(settings, SITE, tmp_path / "new", site.repo.store)


@pytest.mark.parametrize("short_lived", [True, False])
async def test_the_process_looks_until_it_is_stopped(site: Site, tmp_path: Path, short_lived: bool) -> None:
    """By a file:// store, as from a USB stick: it finds what is published while it runs, and ends when told."""
    stick = FolderStore(tmp_path / "stick" / "headwater")
    for key, data in site.repo.store.objects.items():
        stick.put(key, data)
    objects = ObjectSettings(endpoint=f"file://{tmp_path}/stick")
    settings = site.updater_settings().model_copy(
        update={"objects": objects, "poll_interval_s": 0.1, "short_lived": short_lived}
    )
    stop = asyncio.Event()
    running = asyncio.create_task(run(settings, SITE, site.state, stop))
    site.ask(site.publish(2))
    for key, data in sorted(site.repo.store.objects.items(), key=lambda item: "timestamp" in item[0]):
        stick.put(key, data)
    async with asyncio.timeout(20):
        while site.running() != 2:  # noqa: ASYNC110 # another process changes the file
            await asyncio.sleep(0.05)
    stop.set()
    async with asyncio.timeout(15):
        await running


def test_a_look_without_news_leaves_the_file_alone(site: Site) -> None:
    """desired.json is not rewritten at every look, so that flash and scorer are spared."""
    before = (site.state / "desired.json").stat()
    site.look()
    site.look()
    assert (site.state / "desired.json").stat().st_ino == before.st_ino


def test_desired_json_is_what_the_documentation_shows(site: Site) -> None:
    """The bytes are canonical JSON with these keys."""
    data = (site.state / "desired.json").read_bytes()
    plain = msgspec.json.decode(data)
    assert canonical_json(plain) == data
    assert set(plain) == {"v", "classes", "refused", "generations", "updater"}
    assert set(plain["classes"][CLASS]) == {
        *("version", "sha256", "manifest_sha256", "generation", "placed_at", "source", "rollout_id", "fetched_bytes")
    }
