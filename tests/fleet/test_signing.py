"""`fleet renew` and `fleet publish`: what they say is what they did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from headwater.app.cli import main
from headwater.transport.registry.keys import make_keys
from tests.edge_agent.scorer.models import make


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a signed repository in `store` and its keys in `keys`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_FLEET__OBJECTS__ENDPOINT", f"file://{tmp_path / 'store'}")
    assert run("keys", "init") == 0
    return tmp_path


def run(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["fleet", *words])
    return ended.value.code or 0


def files(fleet: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in (fleet / "store").rglob("*.json")}


@pytest.mark.parametrize("role", ["models", "rollout", "snapshot", "timestamp"])
def test_a_wrong_key_renews_nothing(
    fleet: Path, role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 7 with the name of the key; not even the roles whose keys are right are signed, and no file changes."""
    make_keys(fleet / "other")
    shutil.copytree("keys", "wrong")
    for key in (fleet / "other").glob(f"{role}-*.pem"):
        shutil.copy(key, "wrong")
    before = files(fleet)
    monkeypatch.setenv("HEADWATER_FLEET__KEYS", "wrong")
    for words in ((), ("--dry-run",), ("--repair",)):
        assert run("renew", *words) == 7
        assert f"wrong/{role}-1.pem" in capsys.readouterr().err
    assert files(fleet) == before
    monkeypatch.delenv("HEADWATER_FLEET__KEYS")
    assert run("renew") == 0


def test_renewing_says_what_was_signed(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The roles by name; a dry run writes nothing and says so."""
    before = files(fleet)
    capsys.readouterr()
    assert run("renew", "--dry-run") == 0
    assert capsys.readouterr().out.endswith("nothing was written\n")
    assert files(fleet) == before
    assert run("renew", "--repair") == 0
    said = capsys.readouterr().out
    assert said == "signed anew: models, rollout, snapshot, timestamp; repaired: nothing, it was whole\n"
    assert files(fleet) != before


@pytest.mark.parametrize("folder", ["missing", "empty", "others"])
def test_renewing_without_keys_is_no_success(
    fleet: Path, folder: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not there, or without keys of models and rollout, is named; nothing is said to be signed."""
    (fleet / "empty").mkdir()
    (fleet / "others").mkdir()
    shutil.copy("keys/root-1.pem", "others")
    monkeypatch.setenv("HEADWATER_FLEET__KEYS", folder)
    capsys.readouterr()
    for words in ((), ("--dry-run",)):
        assert run("renew", *words) == 3
        told = capsys.readouterr()
        assert folder in told.err
        assert "signed anew" not in told.out


def test_a_dry_run_of_publishing_refuses_what_would_be_refused(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It says `would`, writes nothing, and fails where no key is."""
    model, manifest = make(1)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.tflite").write_bytes(model)
    (tmp_path / "model" / "manifest.json").write_bytes(manifest.encode())
    before = files(fleet)
    capsys.readouterr()
    assert run("publish", "model", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["done"] is False
    assert run("publish", "model", "--dry-run") == 0
    assert "would be signed; nothing was written" in capsys.readouterr().out
    assert files(fleet) == before
    monkeypatch.setenv("HEADWATER_FLEET__KEYS", "missing")
    assert run("publish", "model", "--dry-run") == 3


def test_a_model_that_no_runtime_is_certified_for_is_not_signed(
    fleet: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without a certificate of this model over enough windows publishing is refused, and says what makes one."""
    model, manifest = make(1)
    other = msgspec.structs.replace(manifest.certificates[0], model_sha256="0" * 64)
    few = msgspec.structs.replace(manifest.certificates[0], windows=3)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.tflite").write_bytes(model)
    before = files(fleet)
    for certificates in ((), (other,), (few,)):
        raw = msgspec.structs.replace(manifest, certificates=certificates).encode()
        (tmp_path / "model" / "manifest.json").write_bytes(raw)
        capsys.readouterr()
        assert run("publish", "model") == 6
        assert "headwater train certify model" in capsys.readouterr().err
    assert files(fleet) == before
