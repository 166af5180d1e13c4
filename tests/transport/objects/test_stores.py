"""One suite over every store: memory, folder, Moto, SeaweedFS."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from headwater.app.stack.state import S3Address
from headwater.contract.errors import BadInput, BadSetting, Conflict, Refused, Unreachable, Untrusted
from headwater.transport.objects import FolderStore, ObjectSettings, ObjectStore, open_store, probe_conditional_writes
from headwater.transport.objects.s3 import S3Store
from tests.transport.objects.stores import KINDS, Lawless, make_store, settings_of

HOSTILE = ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".hidden", "a/.b", "a\\b", "a b", "a\0b", "%2e%2e/x", "é"]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """An empty store of each kind."""
    return make_store(request.param, request, tmp_path)


def test_what_is_put_is_got(store: ObjectStore) -> None:
    """Content, size and tag read back; a missing object is None."""
    etag = store.put("a/b.json", b"content")
    assert store.get("a/b.json", max_bytes=7) == (b"content", etag)
    assert store.head("a/b.json") == (7, etag)
    assert store.get("a/c.json", max_bytes=7) is None
    assert store.head("a/c.json") is None
    assert store.keys("a/") == ["a/b.json"]


def test_reads_from_an_offset(store: ObjectStore) -> None:
    """A range continues where a former read ended, of the same version only."""
    etag = store.put("a", b"0123456789")
    rest = store.get("a", max_bytes=4, offset=6, if_match=etag)
    assert rest is not None
    assert rest.data == b"6789"
    store.put("a", b"other bytes")
    with pytest.raises(Conflict):
        store.get("a", max_bytes=100, offset=6, if_match=etag)


def test_reads_no_more_than_allowed(store: ObjectStore) -> None:
    """An object that is longer than promised is an error, not memory."""
    store.put("a", b"x" * 1000)
    with pytest.raises(Untrusted) as caught:
        store.get("a", max_bytes=999)
    assert caught.value.reason == "bad-length"


def test_conditions_hold(store: ObjectStore) -> None:
    """If-None-Match and If-Match let pass what fits and nothing else."""
    etag = store.put("a", b"1", if_absent=True)
    with pytest.raises(Conflict):
        store.put("a", b"2", if_absent=True)
    newer = store.put("a", b"3", if_match=etag)
    with pytest.raises(Conflict):
        store.put("a", b"4", if_match=etag)
    with pytest.raises(Conflict):
        store.put("nowhere", b"4", if_match=etag)
    assert store.get("a", max_bytes=1) == (b"3", newer)


def test_a_counter_under_a_race_loses_nothing(store: ObjectStore) -> None:
    """Four writers that read, add one and write with If-Match count every one of their twenty additions."""
    store.put("n", b"0")

    def add(times: int) -> None:
        while times:
            found = store.get("n", max_bytes=9)
            assert found is not None
            try:
                store.put("n", b"%d" % (int(found.data) + 1), if_match=found.etag)
                times -= 1
            except Conflict:
                pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, [5] * 4))
    final = store.get("n", max_bytes=9)
    assert final is not None
    assert final.data == b"20"


def test_the_probe_passes(store: ObjectStore) -> None:
    """A store that keeps its word is fit for publishing."""
    assert probe_conditional_writes(store, writers=2) is None


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_keys_are_refused(key: str, tmp_path: Path) -> None:
    """No key leads outside of the store or means another one after decoding."""
    folder = FolderStore(tmp_path / "store")
    for call in (lambda: folder.get(key, max_bytes=9), lambda: folder.put(key, b"x"), lambda: folder.head(key)):
        with pytest.raises(BadInput):
            call()


def test_the_probe_finds_a_store_that_ignores_conditions(unique: str) -> None:
    """A server that lets every racer win is named as such."""
    with Lawless() as server:
        fault = probe_conditional_writes(server.store(unique))
    assert fault is not None
    assert "8 of 8 writers with If-None-Match" in fault


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    """A stick with symbolic links cannot make the edge read other files."""
    (tmp_path / "secret").write_text("s")
    root = tmp_path / "store"
    root.mkdir()
    (root / "file").symlink_to(tmp_path / "secret")
    (root / "dir").symlink_to(tmp_path)
    folder = FolderStore(root)
    for key in ("file", "dir/secret"):
        with pytest.raises(Refused):
            folder.get(key, max_bytes=9)


def test_an_absent_server_is_unreachable(free_port: int) -> None:
    """A closed port is a reason to try again later, in one sentence that names the address."""
    settings = ObjectSettings(
        endpoint=f"http://127.0.0.1:{free_port}", access_key="a", secret_key="b", attempts=1, connect_timeout_s=1
    )
    with pytest.raises(Unreachable, match=str(free_port)):
        open_store(settings).get("a", max_bytes=1)


def test_a_missing_bucket_is_a_bad_setting(moto: S3Address) -> None:
    """The message names the bucket."""
    settings = settings_of(moto).model_copy(update={"bucket": "nowhere"})
    with pytest.raises(BadSetting, match="nowhere"):
        S3Store.of(settings).get("a", max_bytes=1)


def test_wrong_keys_are_refused(s3: S3Address) -> None:
    """A server that denies is not asked again."""
    wrong = settings_of(s3).model_copy(update={"access_key": "nobody"})
    with pytest.raises(Refused, match="denies"):
        S3Store.of(wrong).put("a", b"1")


def test_missing_keys_are_looked_for_in_every_parts_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_port: int
) -> None:
    """Whose store it is is not known here: the hint names the settings of the edge as well as the fleet's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(BadSetting, match="no credentials") as caught:
        S3Store.of(ObjectSettings(endpoint=f"http://127.0.0.1:{free_port}")).head("a")
    for name in ("[edge.updater.objects]", "HEADWATER_EDGE__UPDATER__OBJECTS__ACCESS_KEY", "[fleet.objects]"):
        assert name in caught.value.hint


def test_endpoints_choose_the_store(tmp_path: Path) -> None:
    """file:// opens a folder, anything but that and http:// is refused; what the refusal says holds no password."""
    folder = open_store(ObjectSettings(endpoint=f"file://{tmp_path}", bucket="b", prefix="p/"))
    folder.put("k", b"v")
    assert (tmp_path / "b" / "p" / "k").read_bytes() == b"v"
    for wrong in ("ftp://x", "s3.example.com", "file://host/x", "file:x", "http://", "http://host:none", "canary"):
        with pytest.raises(ValidationError, match=r"not an address|names no folder"):
            ObjectSettings(endpoint=wrong)


@pytest.mark.parametrize("endpoint", ["http://me:canary@host", "https://canary@host:9000/x", "me:canary@host"])
def test_an_endpoint_with_a_password_is_refused_without_showing_it(endpoint: str) -> None:
    """Addresses are logged and go into the status; passwords have settings of their own."""
    with pytest.raises(ValidationError, match="secret_key") as caught:
        ObjectSettings(endpoint=endpoint)
    assert "canary" not in str(caught.value)
    assert ObjectSettings(endpoint="file:///media/me@home").endpoint
