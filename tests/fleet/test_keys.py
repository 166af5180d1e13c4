"""`headwater fleet keys init` where it cannot do what is asked, and what it says before it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.app.cli import main


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the keys; the store is a folder beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_FLEET__OBJECTS__ENDPOINT", f"file://{tmp_path / 'store'}")
    monkeypatch.setenv("HEADWATER_FLEET__KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


def run(*words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["fleet", "keys", "init", *words])
    return ended.value.code


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
@pytest.mark.parametrize("place", ["/proc/nope/keys", "{file}/keys", "{file}"])
def test_a_folder_that_cannot_be_made_is_a_sentence(
    fleet: Path, words: tuple[str, ...], place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback but exit code 2, in a dry run too; the folder is named."""
    (fleet.parent / "file").touch()
    keys = place.format(file=fleet.parent / "file")
    monkeypatch.setenv("HEADWATER_FLEET__KEYS", keys)

    assert run(*words) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"headwater: {keys}")
    assert "Traceback" not in told


def test_a_dry_run_says_what_would_be_done_and_does_nothing(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """New keys or those that are there; nothing lies on the disk afterwards."""
    assert run("--dry-run") == 0
    assert capsys.readouterr().out.startswith(f"would make keys in {fleet}, write {fleet / 'root.json'} and sign")
    assert list(fleet.parent.iterdir()) == []
    assert run() == 0
    for file in (fleet.parent / "store").rglob("*.json"):
        file.unlink()
    capsys.readouterr()
    assert run("--dry-run") == 0
    assert capsys.readouterr().out.startswith(f"would use the keys that are in {fleet}")
    assert run("--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["done"] is False


def test_a_dry_run_refuses_what_would_be_refused(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store with a repository, a root without keys, and keys that are not whole."""
    assert run() == 0
    assert (run("--dry-run"), run()) == (3, 3)
    for file in (fleet.parent / "store").rglob("*.json"):
        file.unlink()
    (fleet / "models-1.pem").rename(fleet.parent / "models-1.pem")
    (fleet / "models-2.pem").unlink()
    assert (run("--dry-run"), run()) == (3, 3)
    for key in fleet.glob("*.pem"):
        key.unlink()
    assert (run("--dry-run"), run()) == (3, 3)
    assert "Traceback" not in capsys.readouterr().err
