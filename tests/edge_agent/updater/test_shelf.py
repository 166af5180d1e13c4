"""What lies on the edge's disk is used when it is what was signed, and fetched again otherwise."""

from __future__ import annotations

import shutil

import msgspec
import pytest

from headwater.contract.canonical import canonical_json, sha256
from headwater.contract.manifest import MANIFEST_FILE
from headwater.contract.rollout import Target
from tests.edge_agent.scorer.models import CLASS, make
from tests.edge_agent.updater.site import SITE, Site


def test_going_back_needs_no_download(site: Site) -> None:
    """A pin to the former version is obeyed from the edge's own disk, even while models cannot be had."""
    first, second = Target(1, sha256(make(1)[0])), site.publish(2)
    site.ask(second, first)
    assert site.look().classes[CLASS].version == 2
    del site.repo.store.objects[site.content(1)]
    before = site.look().updater.fetched_bytes
    site.ask(second, first, pins={SITE: first})
    wanted = site.look().classes[CLASS]
    assert (wanted.version, wanted.source, wanted.fetched_bytes) == (1, "disk", 0)
    assert site.look().updater.fetched_bytes == before


def test_a_spoilt_disk_is_not_trusted(site: Site) -> None:
    """Going back to a version whose file has rotted downloads it again."""
    first, second = Target(1, sha256(make(1)[0])), site.publish(2)
    site.ask(second, first)
    site.look()
    site.model_file(1).write_bytes(b"rot")
    site.ask(second, first, pins={SITE: first})
    assert site.look().classes[CLASS].source == "download"
    assert site.model_file(1).read_bytes() == make(1)[0]


@pytest.fixture
def second(site: Site) -> Site:
    """The site runs version 2 and was asked to go back; the manifest of version 1 on its disk was altered."""
    first, second = Target(1, sha256(make(1)[0])), site.publish(2)
    site.ask(second, first)
    assert site.look().classes[CLASS].version == 2
    site.ask(second, first, pins={SITE: first})
    site.alter_manifest(1)
    return site


def test_going_back_to_an_altered_manifest_fetches_it_again(second: Site) -> None:
    """A threshold raised on the disk, in a manifest that is valid otherwise, never comes to the scorer."""
    wanted = second.look().classes[CLASS]
    assert (wanted.version, wanted.source) == (1, "download")
    manifest = second.model_file(1).with_name(MANIFEST_FILE).read_bytes()
    assert manifest == make(1)[1].encode()
    assert wanted.manifest_sha256 == sha256(manifest)


@pytest.mark.parametrize("gone", ["content", "role"])
def test_an_altered_manifest_that_cannot_be_fetched_is_waited_for(second: Site, gone: str) -> None:
    """Neither the signed digest nor the remembered one is given up for want of a link: the running version stays."""
    if gone == "content":
        del second.repo.store.objects[second.content(1, MANIFEST_FILE)]
    else:
        second.expire("models")
    found = second.look()
    assert (found.classes[CLASS].version, found.refused, found.updater.phase) == (2, [], "waiting")


def test_going_back_needs_no_signature_again(site: Site) -> None:
    """While `models` has expired, a kept version is proven by the digest under which it was placed."""
    first, second = Target(1, sha256(make(1)[0])), site.publish(2)
    site.ask(second, first)
    site.look()
    site.expire("models")
    site.ask(second, first, pins={SITE: first})
    (site.state / "desired.json").unlink()
    wanted = site.look().classes[CLASS]
    assert (wanted.version, wanted.source) == (1, "disk")
    assert wanted.manifest_sha256 == sha256(make(1)[1].encode())


@pytest.mark.parametrize("refused", [True, False])
def test_an_altered_manifest_of_the_version_that_runs_is_mended(site: Site, refused: bool) -> None:
    """Also when the newest document was refused: the next life of the scorer needs the files of this one."""
    if refused:
        site.ask(site.publish(2, spoilt=True))
        assert [each.version for each in site.look().refused] == [2]
    before = site.look()
    path = site.alter_manifest(1)
    after = site.look()
    assert sha256(path.read_bytes()) == before.classes[CLASS].manifest_sha256
    assert after.refused == before.refused
    changed = {"placed_at": 0, "fetched_bytes": 0}
    assert msgspec.structs.replace(after.classes[CLASS], **changed) == msgspec.structs.replace(
        before.classes[CLASS], **changed
    )


@pytest.mark.parametrize("altered", [True, False])
def test_what_an_older_agent_placed_is_placed_anew(site: Site, altered: bool) -> None:
    """Its desired.json has no digest of the manifest: the disk is proven against what is signed, or fetched again."""
    path = site.state / "desired.json"
    plain = msgspec.json.decode(path.read_bytes())
    del plain["classes"][CLASS]["manifest_sha256"]
    path.write_bytes(canonical_json(plain))
    (site.state / "floors.json").unlink()
    if altered:
        site.alter_manifest(1)
    wanted = site.look().classes[CLASS]
    assert (wanted.version, wanted.source) == (1, "download" if altered else "disk")
    assert wanted.manifest_sha256 == sha256(make(1)[1].encode())


def test_files_that_vanished_are_fetched_again(site: Site) -> None:
    """A version that is wanted but not on disk any more comes back at the next look."""
    shutil.rmtree(site.model_file(1).parent)
    site.look()
    assert site.model_file(1).exists()


def test_old_versions_go_the_wanted_one_stays(site: Site) -> None:
    """Three versions of a class are kept."""
    for version in (2, 3, 4):
        site.ask(site.publish(version))
        site.look()
    assert sorted(path.name for path in site.model_file(1).parent.parent.iterdir()) == ["2", "3", "4"]
    assert set(msgspec.json.decode((site.state / "floors.json").read_bytes())["manifests"][CLASS]) == {"2", "3", "4"}


def test_desired_is_made_anew_from_the_shelf(site: Site) -> None:
    """A desired.json that was damaged costs no download."""
    (site.state / "desired.json").write_bytes(b"\0\0")
    wanted = site.look().classes[CLASS]
    assert (wanted.version, wanted.source) == (1, "disk")
