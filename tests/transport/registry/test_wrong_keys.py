"""Keys of another fleet: nothing is written with them, and what they have spoilt once can be repaired."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from headwater.contract.errors import BadInput, Refused, Untrusted
from headwater.transport.objects import MemoryStore
from headwater.transport.registry.keys import make_keys
from headwater.transport.registry.layout import TIMESTAMP_KEY
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repair import repair
from headwater.transport.registry.repository import check_init, init_repository
from tests.transport.registry.fleet_repo import MODEL, ROLLOUT, Repo

ROLES = ("models", "rollout", "snapshot", "timestamp")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The keys of another fleet."""
    make_keys(tmp_path / "other")
    return tmp_path / "other"


def mixed(repo: Repo, other: Path, role: str) -> Path:
    """The fleet's own folder of keys, but for one role."""
    folder = repo.folder / f"wrong-{role}"
    shutil.copytree(repo.keys, folder, dirs_exist_ok=True)
    for file in other.glob(f"{role}-*.pem"):
        shutil.copy(file, folder)
    return folder


def foreign(repo: Repo, other: Path, role: str) -> None:
    """Have a role signed by the other fleet, and all that follows from it by the right keys."""
    mine, repo.keys = repo.keys, mixed(repo, other, role)
    try:
        repo.forge(role, lambda signed: None, [f"{role}-1"])
    finally:
        repo.keys = mine


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("publishing", ["models", "rollout"])
def test_a_wrong_key_is_named_before_anything_is_written(repo: Repo, other: Path, role: str, publishing: str) -> None:
    """Every role that a publication needs is held against the root; the store is as it was, and edges pass."""
    before = dict(repo.store.objects)
    publisher = Publisher(repo.store, mixed(repo, other, role), publishing)
    files = {"models/pump/2/m": b"2"} if publishing == "models" else {"rollout/pump/2.json": b"{}"}
    if role in ("snapshot", "timestamp", publishing):
        for attempt in (publisher.check, publisher.publish):
            with pytest.raises(Untrusted, match=rf"{role}-1\.pem.*not a key of the role {role}"):
                attempt(files)
        assert repo.store.objects == before
    else:
        publisher.publish(files)
    assert repo.client().refresh().problem is None
    repo.publisher(publishing).publish({})


def test_one_right_key_of_two_is_enough(repo: Repo, other: Path) -> None:
    """Of two keys of models, one must sign; a foreign one beside it is left alone."""
    folder = mixed(repo, other, "models")
    shutil.copy(repo.keys / "models-2.pem", folder)
    Publisher(repo.store, folder, "models").publish({"models/pump/2/m": b"2"})
    assert repo.client().refresh().problem is None


@pytest.mark.parametrize("role", ROLES)
def test_a_spoilt_repository_is_repaired_by_its_own_keys(repo: Repo, other: Path, role: str, tmp_path: Path) -> None:
    """What was signed stays signed, edges that saw the time before go on, and publishing works again."""
    edge = repo.client(tmp_path / "edge")
    assert edge.refresh().problem is None
    foreign(repo, other, role)
    with pytest.raises(Untrusted) as refused:
        repo.publisher("models").publish({})
    assert "renew --repair" in refused.value.hint

    before = dict(repo.store.objects)
    assert repair(repo.store, repo.keys, clock=repo.clock, dry_run=True) == [role]
    assert repo.store.objects == before
    assert repair(repo.store, repo.keys, clock=repo.clock) == [role]

    for reader in (edge, repo.client()):
        assert reader.refresh().problem is None
        assert reader.read(MODEL, max_bytes=100) == b"model one"
        assert reader.read(ROLLOUT, max_bytes=100) == b"{}"
    repo.publisher("models").publish({"models/pump/2/m": b"2"})
    assert repair(repo.store, repo.keys, clock=repo.clock) == []


def test_a_repair_signs_nothing_that_was_not_signed(repo: Repo, other: Path) -> None:
    """A file that only the wrong key has named is left out; so whoever writes to the store gains nothing by it."""
    mine, repo.keys = repo.keys, mixed(repo, other, "models")

    def add(signed: object) -> None:
        signed.targets["models/pump/9/m"] = TargetFile.from_data("models/pump/9/m", b"evil")  # type: ignore[attr-defined] # a Targets

    repo.forge("models", add, ["models-1"])
    repo.keys = mine
    assert repair(repo.store, repo.keys, clock=repo.clock) == ["models"]
    assert set(repo.publisher("models").targets("models/")) == {MODEL}


def test_a_folder_of_wrong_keys_is_repaired_too(repo: Repo, other: Path, tmp_path: Path) -> None:
    """Role, snapshot and timestamp all by another fleet, twice: one repair."""
    edge = repo.client(tmp_path / "edge")
    assert edge.refresh().problem is None
    mine, repo.keys = repo.keys, other
    repo.forge("rollout", lambda signed: None, ["rollout-1"])
    repo.forge("models", lambda signed: None, ["models-1"])
    repo.keys = mine
    assert repair(repo.store, repo.keys, clock=repo.clock) == ["timestamp", "snapshot", "models", "rollout"]
    assert edge.refresh().problem is None
    assert edge.read(ROLLOUT, max_bytes=100) == b"{}"


def test_a_repair_needs_the_right_keys_and_readable_metadata(repo: Repo, other: Path) -> None:
    """Wrong keys repair nothing; a timestamp that nobody can read is said to be beyond repair."""
    foreign(repo, other, "timestamp")
    before = dict(repo.store.objects)
    with pytest.raises(Untrusted, match=r"timestamp-1\.pem"):
        repair(repo.store, mixed(repo, other, "timestamp"), clock=repo.clock)
    assert repo.store.objects == before
    repo.store.objects[TIMESTAMP_KEY] = b"{"
    with pytest.raises(Untrusted, match="cannot be repaired") as caught:
        repair(repo.store, repo.keys, clock=repo.clock)
    assert "backup" in caught.value.hint


def test_keys_that_are_not_those_of_the_root_begin_no_repository(repo: Repo, other: Path) -> None:
    """`keys init` into an empty store with a folder whose root.json names other keys writes nothing."""
    store = MemoryStore()
    for role in ("targets", "snapshot", "timestamp"):
        folder = mixed(repo, other, role)
        for begin in (init_repository, check_init):
            with pytest.raises(Untrusted, match=rf"{role}-1\.pem"):
                begin(store, folder)
    assert store.objects == {}
    (repo.keys / "root.json").write_text(json.dumps(json.loads(repo.store.objects[TIMESTAMP_KEY])))
    with pytest.raises(BadInput, match="not a root of trust"):
        init_repository(store, repo.keys)


@pytest.mark.parametrize("written", [0, 1, 5, 9])
def test_keys_whose_making_was_cut_off_are_completed(tmp_path: Path, written: int) -> None:
    """Those that are there stay; once there is a root.json, a missing key is said to be missing."""
    folder, store = tmp_path / "keys", MemoryStore()
    make_keys(folder)
    for key in sorted(folder.glob("*.pem"))[written:]:
        key.unlink()
    left = {key.name: key.read_bytes() for key in folder.iterdir()}
    assert check_init(store, folder)
    init_repository(store, folder)
    assert {name: (folder / name).read_bytes() for name in left} == left
    assert len(list(folder.glob("*.pem"))) == 10
    Publisher(store, folder, "models").publish({MODEL: b"1"})

    (folder / "models-1.pem").unlink()
    (folder / "models-2.pem").unlink()
    for begin in (init_repository, check_init):
        with pytest.raises(Refused, match="no key of the role models"):
            begin(MemoryStore(), folder)
