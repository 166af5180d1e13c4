"""Publishing: who may sign what, and that two at once lose nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headwater.app.stack.state import S3Address
from headwater.contract.errors import BadInput, Conflict, DataMissing, Refused, Unreachable, Untrusted
from headwater.transport.objects import FolderStore, MemoryStore
from headwater.transport.objects.s3 import S3Store
from headwater.transport.registry.client import Client
from headwater.transport.registry.layout import TIMESTAMP_KEY
from headwater.transport.registry.publisher import Publisher
from headwater.transport.registry.repository import init_repository
from tests.transport.objects.stores import Lawless, settings_of
from tests.transport.registry.fleet_repo import MODEL, ROLLOUT, Repo


def test_what_is_published_is_fetched(repo: Repo, tmp_path: Path) -> None:
    """An edge with nothing but root.json gets the bytes, their digest and what was said about them."""
    client = repo.client()
    assert client.refresh() == ("fresh", None)
    target = client.targets("models/pump/")[MODEL]
    assert target.custom == {"version": 1}
    file = client.fetch(MODEL, tmp_path / "got", max_bytes=100)
    assert file.read_bytes() == b"model one"
    assert client.fetched_bytes == target.length == 9
    assert repo.publisher("models").versions("pump") == [1]
    assert repo.publisher("rollout").read(MODEL) == b"model one"


def test_keys_are_for_their_owner_alone(repo: Repo) -> None:
    """Key files have mode 0600, one for each key, and are not overwritten."""
    files = sorted(repo.keys.glob("*.pem"))
    assert [file.name for file in files] == [
        *("models-1.pem", "models-2.pem", "rollout-1.pem", "root-1.pem", "root-2.pem", "root-3.pem"),
        *("snapshot-1.pem", "targets-1.pem", "targets-2.pem", "timestamp-1.pem"),
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    with pytest.raises(Refused, match="already"):
        init_repository(repo.store, repo.keys)


def test_an_interrupted_beginning_is_completed(tmp_path: Path) -> None:
    """A set-up that died before its last write is finished by the next call, with the same keys and root."""
    store = MemoryStore()
    root = init_repository(store, tmp_path / "keys")
    del store.objects[TIMESTAMP_KEY]
    assert init_repository(store, tmp_path / "keys") == root
    Publisher(store, tmp_path / "keys", "models").publish({MODEL: b"1"})


def test_a_role_signs_its_own_paths_only(repo: Repo) -> None:
    """The publisher refuses before anything is written."""
    before = dict(repo.store.objects)
    for path in (ROLLOUT, "models/pump/1", "models/../rollout/pump/1.json", "etc/passwd", "models/pump/1/a/b"):
        with pytest.raises(BadInput):
            repo.publisher("models").publish({path: b"x"})
    assert repo.store.objects == before


def test_a_version_never_changes(repo: Repo) -> None:
    """The same bytes again are fine, other bytes under the same path are a conflict."""
    models = repo.publisher("models")
    models.publish({MODEL: b"model one"})
    with pytest.raises(Conflict, match="already"):
        models.publish({MODEL: b"model two"})
    assert models.read(MODEL) == b"model one"


def test_publishers_at_once_lose_nothing(repo: Repo) -> None:
    """Four publishers of both roles, twenty publications: every one of them is signed at the end."""
    roles = ["models", "rollout", "models", "rollout"]

    def work(number: int) -> None:
        publisher = repo.publisher(roles[number])
        for i in range(5):
            path = f"models/c{number}/{i}/m" if roles[number] == "models" else f"rollout/c{number}/{i}.json"
            publisher.publish({path: b"%d" % i})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(repo.publisher("models").targets()) == 2 + 20
    client = repo.client()
    assert client.refresh().problem is None
    assert len(client.targets("models/")) + len(client.targets("rollout/")) == 2 + 20


def test_publishers_of_two_processes_share_a_folder(tmp_path: Path) -> None:
    """The lock of a folder store keeps publishers with stores of their own apart."""
    init_repository(FolderStore(tmp_path / "store"), tmp_path / "keys")

    def work(number: int) -> None:
        publisher = Publisher(FolderStore(tmp_path / "store"), tmp_path / "keys", "models")
        for i in range(3):
            publisher.publish({f"models/c{number}/{i}/m": b"x%d" % i})

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert len(Publisher(FolderStore(tmp_path / "store"), tmp_path / "keys", "models").targets()) == 9


class DiesAt(MemoryStore):
    """A store whose n-th write never arrives."""

    def __init__(self, objects: dict[str, bytes], write: int) -> None:
        super().__init__()
        self.objects = objects
        self._left = write

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if not key.startswith("probe/"):
            self._left -= 1
            if self._left < 0:
                raise Unreachable("cut off")
        return super().put(key, data, if_absent=if_absent, if_match=if_match)


@pytest.mark.parametrize("write", range(4))
def test_a_publisher_that_dies_leaves_nothing_visible_and_nothing_in_the_way(repo: Repo, write: int) -> None:
    """Cut off before each of its writes, it changed nothing that edges see, and the next one passes."""
    path = "models/pump/2/m"
    with pytest.raises(Unreachable):
        Publisher(DiesAt(repo.store.objects, write), repo.keys, "models").publish({path: b"2"})
    client = repo.client()
    assert client.refresh().problem is None
    assert client.target(path) is None
    repo.publisher("models").publish({path: b"2"})
    assert client.refresh().problem is None
    assert client.read(path, max_bytes=1) == b"2"


def test_a_lost_answer_is_not_a_lost_race(repo: Repo) -> None:
    """When the timestamp was written but its answer lost and repeated, the publication counts as done."""

    class Repeats(MemoryStore):
        def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
            tag = super().put(key, data, if_absent=if_absent, if_match=if_match)
            return super().put(key, data, if_match=if_match) if key == TIMESTAMP_KEY else tag

    store = Repeats()
    store.objects = repo.store.objects
    Publisher(store, repo.keys, "models").publish({"models/pump/2/m": b"2"})
    assert repo.document("timestamp").signed.version == 4


def test_a_publisher_does_not_sign_what_others_slipped_in(repo: Repo) -> None:
    """Metadata changed in the store is found out before it becomes the base of a new version."""
    repo.rewrite("models", lambda document: document["signed"]["targets"].clear())
    with pytest.raises(Untrusted):
        repo.publisher("models").publish({"models/pump/2/m": b"2"})


def test_spoilt_content_is_not_signed_again(repo: Repo) -> None:
    """Content under a digest that it does not have stops the publication."""
    repo.store.objects[repo.content_key(MODEL)] = b"model owe"
    with pytest.raises(Untrusted, match="other bytes"):
        repo.publisher("models").publish({MODEL: b"model one"})
    with pytest.raises(Untrusted, match="other bytes") as caught:
        repo.publisher("rollout").read(MODEL)
    assert "name another version" in caught.value.hint


def test_a_store_without_conditional_writes_is_refused(repo: Repo, tmp_path: Path, unique: str) -> None:
    """Neither a repository nor a publication is begun where two publishers would overwrite each other."""
    with Lawless() as server:
        store = server.store(unique)
        with pytest.raises(Refused, match="not fit for publishing"):
            init_repository(store, tmp_path / "other")
        for key, data in repo.store.objects.items():
            store.put(key, data)
        with pytest.raises(Refused, match="not fit for publishing"):
            Publisher(store, repo.keys, "models").publish({"models/pump/2/m": b"2"})
        assert not any("models/pump/2" in key for key in store.keys("targets/"))


def test_an_empty_store_is_said_to_be_empty(repo: Repo) -> None:
    """The message tells how a repository is made."""
    with pytest.raises(DataMissing) as caught:
        Publisher(MemoryStore(), repo.keys, "models").versions("pump")
    assert "keys init" in caught.value.hint


def test_two_first_publications_of_a_path_have_one_winner(repo: Repo) -> None:
    """Two operators who choose the same generation: one is told, none is overwritten."""
    ready = threading.Barrier(2)

    def start(content: bytes) -> bool:
        publisher = repo.publisher("rollout")
        ready.wait()
        try:
            publisher.publish({"rollout/pump/2.json": content})
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(start, (b"a", b"b")))
    assert sorted(won) == [False, True]


def test_two_publishers_on_a_real_server_lose_nothing(s3: S3Address, tmp_path: Path) -> None:
    """Over S3, with a client each: both roles publish at once, and an edge sees all of it."""
    root = init_repository(S3Store.of(settings_of(s3)), tmp_path / "keys")

    def work(role: str) -> None:
        publisher = Publisher(S3Store.of(settings_of(s3)), tmp_path / "keys", role)
        for i in (1, 2, 3):
            path = f"models/pump/{i}/m" if role == "models" else f"rollout/pump/{i}.json"
            publisher.publish({path: b"%d" % i})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ("models", "rollout")))
    client = Client(S3Store.of(settings_of(s3)), tmp_path / "edge", root)
    assert client.refresh() == ("fresh", None)
    assert len(client.targets("models/")) == len(client.targets("rollout/")) == 3
    assert client.read("models/pump/3/m", max_bytes=1) == b"3"
