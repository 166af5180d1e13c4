"""Attacks on the road from signer to edge: each ends in an error with a reason, and no file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import MetaFile, TargetFile

from headwater.contract.errors import HeadwaterError, Refused, Unreachable, Untrusted
from headwater.transport.objects import MemoryStore, Object
from headwater.transport.registry.client import STALE_AFTER_MS, Client, freshness_of
from headwater.transport.registry.layout import TIMESTAMP_KEY
from tests.transport.registry.fleet_repo import MODEL, ROLLOUT, Repo, days

NEW = "models/pump/2/model.tflite"


def fetch(client: Client, folder: Path, path: str = MODEL) -> None:
    """What the updater does: refresh, then fetch."""
    problem = client.refresh().problem
    if problem is not None:
        raise problem
    client.fetch(path, folder, max_bytes=1000)


def refused(client: Client, folder: Path, reason: str, path: str = MODEL) -> None:
    """The attack ends in Untrusted with that reason, and leaves no file."""
    with pytest.raises(Untrusted) as caught:
        fetch(client, folder, path)
    assert caught.value.reason == reason
    assert not folder.exists() or not any(folder.iterdir())


def edit_content(change: Callable[[bytes], bytes]) -> Callable[[Repo], None]:
    def attack(repo: Repo) -> None:
        key = repo.content_key(MODEL)
        repo.store.objects[key] = change(repo.store.objects[key])

    return attack


def other_length(repo: Repo) -> None:
    def lie(role: Any) -> None:
        role.targets[MODEL].length += 1

    repo.forge("models", lie, ["models-1"])


def expired(*roles: str) -> Callable[[Repo], None]:
    def attack(repo: Repo) -> None:
        for role in roles:
            repo.forge(
                role,
                lambda signed: setattr(signed, "expires", repo.now.replace(microsecond=0) - days(1)),
                [f"{role}-1"],
            )

    return attack


def unsigned(repo: Repo) -> None:
    repo.rewrite("timestamp", lambda document: document["signatures"].clear())


def signed_by(role: str, *keys: str) -> Callable[[Repo], None]:
    return lambda repo: repo.forge(role, lambda _: None, list(keys))


def counted_twice(repo: Repo) -> None:
    """One key of two, its signature there twice (CVE-2026-6966)."""
    repo.forge("targets", lambda _: None, ["targets-1"])
    repo.rewrite("targets", lambda document: document["signatures"].append(document["signatures"][0]))
    forgot_hashes(repo, "targets")


def forgot_hashes(repo: Repo, role: str) -> None:
    """Let the snapshot name the newest file of a role as it is."""
    data = repo.store.objects[repo.newest(role)]
    version = int(repo.newest(role).split("/")[1].split(".")[0])
    repo.forge(
        "snapshot",
        lambda s: s.meta.update({f"{role}.json": MetaFile.from_data(version, data, ["sha256"])}),
        ["snapshot-1"],
    )


def snapshot_without_a_role(repo: Repo) -> None:
    repo.forge("snapshot", lambda snapshot: snapshot.meta.pop("models.json"), ["snapshot-1"])


def renamed_key(repo: Repo) -> None:
    """A key of the attacker's own under the id of a real one."""
    stranger = Repo(repo.folder / "stranger")
    models = repo.document("models")
    models.signed.version += 1
    models.signatures.clear()
    signature = models.sign(stranger.key("models-1"))
    signature.keyid = repo.key("models-1").public_key.keyid
    models.signatures = {signature.keyid: signature}
    repo.store.objects[f"metadata/{models.signed.version}.models.json"] = models.to_bytes()
    forgot_hashes(repo, "models")


def unknown_key(repo: Repo) -> None:
    stranger = Repo(repo.folder / "stranger")
    timestamp = repo.document("timestamp")
    timestamp.signed.version += 1
    timestamp.sign(stranger.key("timestamp-1"))
    repo.store.objects[TIMESTAMP_KEY] = timestamp.to_bytes()


def not_json(repo: Repo) -> None:
    repo.store.objects[TIMESTAMP_KEY] = b"[" * 10_000


ATTACKS: dict[str, tuple[Callable[[Repo], None], str]] = {
    "tampered content": (edit_content(lambda data: b"M" + data[1:]), "bad-digest"),
    "truncated content": (edit_content(lambda data: data[:-1]), "bad-length"),
    "appended content": (edit_content(lambda data: data + b"x"), "bad-length"),
    "endless content": (edit_content(lambda data: data * 100_000), "bad-length"),
    "empty content": (edit_content(lambda _: b""), "bad-length"),
    "right digest, wrong length": (other_length, "bad-length"),
    "expired timestamp": (expired("timestamp"), "expired"),
    "expired snapshot": (expired("snapshot"), "expired"),
    "expired models": (expired("models"), "expired"),
    "unsigned timestamp": (unsigned, "bad-signature"),
    "unknown key": (unknown_key, "bad-signature"),
    "stranger's key under a known id": (renamed_key, "bad-signature"),
    "one of two target keys": (signed_by("targets", "targets-1"), "bad-signature"),
    "one signature counted twice": (counted_twice, "bad-signature"),
    "rollout's key signs models": (signed_by("models", "rollout-1"), "bad-signature"),
    "models' key signs targets": (signed_by("targets", "models-1", "models-2"), "bad-signature"),
    "timestamp's key signs the snapshot": (signed_by("snapshot", "timestamp-1"), "bad-signature"),
    "root by one of three keys": (signed_by("root", "root-1"), "bad-signature"),
    "snapshot without a role": (snapshot_without_a_role, "bad-signature"),
    "deep JSON": (not_json, "bad-signature"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_on_a_new_edge_leaves_nothing(name: str, repo: Repo, tmp_path: Path) -> None:
    """An edge without a cache refuses each forgery by its reason."""
    attack, reason = ATTACKS[name]
    attack(repo)
    refused(repo.client(), tmp_path / "got", reason)


@pytest.mark.parametrize("name", [name for name in ATTACKS if not name.endswith("content")])
def test_an_attack_on_a_known_edge_leaves_nothing(name: str, repo: Repo, tmp_path: Path) -> None:
    """An edge with a cache refuses them too."""
    state = tmp_path / "state"
    fetch(repo.client(state), tmp_path / "before")
    attack, reason = ATTACKS[name]
    attack(repo)
    refused(repo.client(state), tmp_path / "got", reason)


def roll_back(repo: Repo, *, only_timestamp: bool) -> dict[str, bytes]:
    """Publish more, and return the store as it was before (or with only the timestamp of before)."""
    old = dict(repo.store.objects)
    repo.publisher("models").publish({NEW: b"two"})
    return {**repo.store.objects, TIMESTAMP_KEY: old[TIMESTAMP_KEY]} if only_timestamp else old


@pytest.mark.parametrize("only_timestamp", [True, False])
@pytest.mark.parametrize("wipe", [True, False])
def test_older_metadata_is_refused(repo: Repo, tmp_path: Path, only_timestamp: bool, wipe: bool) -> None:
    """A replayed timestamp is refused, also after the cache of metadata was deleted."""
    old = roll_back(repo, only_timestamp=only_timestamp)
    state = tmp_path / "state"
    fetch(repo.client(state), tmp_path / "before")
    repo.store.objects = old
    if wipe:
        for file in (state / "metadata").glob("*.json"):
            file.unlink()
    refused(repo.client(state), tmp_path / "got", "bad-signature")


def test_a_snapshot_that_names_older_models_is_refused(repo: Repo, tmp_path: Path) -> None:
    """Mixing old and new metadata is found out by an edge that saw the newer one."""
    older = repo.document("snapshot").signed.meta["models.json"]
    repo.publisher("models").publish({NEW: b"two"})
    state = tmp_path / "state"
    fetch(repo.client(state), tmp_path / "before")
    repo.forge("snapshot", lambda snapshot: snapshot.meta.update({"models.json": older}), ["snapshot-1"])
    refused(repo.client(state), tmp_path / "got", "bad-signature")


def test_a_role_that_signs_outside_of_its_paths_is_not_heard(repo: Repo, tmp_path: Path) -> None:
    """The rollout's stolen key cannot make a model, nor the models' key a rollout."""
    evil = TargetFile.from_data(NEW, b"evil")
    repo.forge("rollout", lambda role: role.targets.update({NEW: evil}), ["rollout-1"])
    repo.store.objects[f"targets/models/pump/2/{evil.hashes['sha256']}.model.tflite"] = b"evil"
    repo.forge("models", lambda role: role.targets.update({"rollout/pump/9.json": evil}), ["models-1"])
    client = repo.client()
    assert client.refresh().problem is None
    assert list(client.targets("rollout/")) == [ROLLOUT]
    assert list(client.targets("models/")) == [MODEL]
    refused(client, tmp_path / "got", "not-signed", NEW)


def test_endless_metadata_is_cut_off(repo: Repo, tmp_path: Path) -> None:
    """No more than the framework's bound is read of a timestamp that never ends."""
    asked: list[int] = []

    class Counts(MemoryStore):
        def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
            asked.append(max_bytes)
            return super().get(key, max_bytes=max_bytes, offset=offset, if_match=if_match)

    endless = Counts()
    endless.objects = {**repo.store.objects, TIMESTAMP_KEY: b" " * 50_000_000}
    refused(Client(endless, tmp_path / "state", repo.root), tmp_path / "got", "bad-length")
    assert max(asked) <= 512_000


@pytest.mark.parametrize(
    "name",
    [
        "models/../../etc/x",
        "models/pump/2/../../../x",
        "models/pump/2/.hidden",
        "models/pump/2/%2e%2e",
        "models/pump/2/é",
    ],
)
def test_a_hostile_name_never_becomes_a_path(repo: Repo, tmp_path: Path, name: str) -> None:
    """Signed or not: such a name is not listed and not fetched."""
    repo.forge("models", lambda role: role.targets.update({name: TargetFile.from_data(name, b"x")}), ["models-1"])
    client = repo.client()
    assert client.refresh().problem is None
    assert list(client.targets("models/")) == [MODEL]
    with pytest.raises(HeadwaterError):
        client.fetch(name, tmp_path / "got", max_bytes=9)
    assert not (tmp_path / "got").exists()


def test_a_root_that_skips_a_version_is_refused(repo: Repo, tmp_path: Path) -> None:
    """Version 3 under the name of version 2 (CVE-2025-2885)."""

    def skip(root: Any) -> None:
        root.version += 1

    repo.forge("root", skip, ["root-1", "root-2"])
    repo.store.objects["metadata/2.root.json"] = repo.store.objects.pop("metadata/3.root.json")
    refused(repo.client(), tmp_path / "got", "bad-signature")


def rotate(repo: Repo, by: list[str]) -> Repo:
    """A new root whose timestamp key and root keys are those of another folder of keys."""
    other = Repo(repo.folder / "rotated")

    def swap(root: Any) -> None:
        for role in ("timestamp", "root"):
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
        root.add_key(other.key("timestamp-1").public_key, "timestamp")
        for i in (1, 2, 3):
            root.add_key(other.key(f"root-{i}").public_key, "root")

    metadata = repo.document("root")
    swap(metadata.signed)
    metadata.signed.version += 1
    metadata.signatures.clear()
    for name in by:
        owner, _, key = name.partition(":")
        metadata.sign((other if owner == "new" else repo).key(key), append=True)
    repo.store.objects["metadata/2.root.json"] = metadata.to_bytes()
    return other


@pytest.mark.parametrize("by", [["new:root-1", "new:root-2"], ["old:root-1", "old:root-2"]])
def test_a_new_root_needs_old_and_new_keys(repo: Repo, tmp_path: Path, by: list[str]) -> None:
    """Signed by only the new keys or only the old ones, it is refused."""
    rotate(repo, by)
    refused(repo.client(), tmp_path / "got", "bad-signature")


def test_a_timestamp_driven_to_the_end_is_recovered_by_a_new_key(repo: Repo, tmp_path: Path) -> None:
    """After a fast-forward (TUF 5.3.11) a root with a new timestamp key lets versions begin anew."""
    repo.forge("timestamp", lambda timestamp: setattr(timestamp, "version", 2**31), ["timestamp-1"])
    state = tmp_path / "state"
    fetch(repo.client(state), tmp_path / "before")
    other = rotate(repo, ["old:root-1", "old:root-2", "new:root-1", "new:root-2"])
    metadata = repo.document("timestamp")
    metadata.signed.version = 5
    metadata.signatures.clear()
    metadata.sign(other.key("timestamp-1"))
    repo.store.objects[TIMESTAMP_KEY] = metadata.to_bytes()
    fetch(repo.client(state), tmp_path / "after")


def test_a_deleted_timestamp_is_no_news(repo: Repo, tmp_path: Path) -> None:
    """An emptied store is like an absent one: nothing is activated, nothing is unlearnt."""
    state = tmp_path / "state"
    fetch(repo.client(state), tmp_path / "before")
    del repo.store.objects[TIMESTAMP_KEY]
    refreshed = repo.client(state).refresh()
    assert refreshed.freshness == "unreachable"
    assert isinstance(refreshed.problem, Unreachable)


def test_nothing_is_read_before_a_refresh(repo: Repo) -> None:
    """A client whose refresh failed does not fall back to what it had."""
    client = repo.client()
    with pytest.raises(Unreachable):
        client.read(MODEL, max_bytes=100)


def test_freshness_has_a_word_for_each_outcome() -> None:
    """Fresh, stale after 48 h, frozen by expiry, unreachable, unverified, never."""
    foreign, old = Untrusted("x", reason="bad-signature"), Untrusted("x", reason="expired")
    bad = Refused("x")
    assert freshness_of(None, 0, 5) == "fresh"
    assert freshness_of(Unreachable("x"), 5, 5) == "unreachable"
    assert freshness_of(old, 5, 5) == "frozen"
    assert freshness_of(foreign, 5, 5) == "unverified"
    assert freshness_of(bad, 0, 5) == "never"
    assert freshness_of(bad, 5, 5 + STALE_AFTER_MS) == "fresh"
    assert freshness_of(bad, 5, 6 + STALE_AFTER_MS) == "stale"


def test_a_poll_without_news_costs_two_requests(repo: Repo, tmp_path: Path) -> None:
    """A next root that is not there, and the timestamp."""
    asked: list[str] = []

    class Listens(MemoryStore):
        def get(self, key: str, *, max_bytes: int, offset: int = 0, if_match: str | None = None) -> Object | None:
            asked.append(key)
            return super().get(key, max_bytes=max_bytes, offset=offset, if_match=if_match)

    store = Listens()
    store.objects = repo.store.objects
    for _ in range(2):
        asked.clear()
        assert Client(store, tmp_path / "state", repo.root).refresh().problem is None
    assert asked == ["metadata/2.root.json", TIMESTAMP_KEY]
