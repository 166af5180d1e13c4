"""Secrets in files: what is misspelt is said, what is not meant for us is let be."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from headwater.contract.errors import BadSetting
from headwater.transport.settings import load, problems
from tests.transport.test_settings import Edge


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A secrets folder as Kubernetes mounts one, with files of others in it."""
    monkeypatch.chdir(tmp_path)
    secrets = tmp_path / "secrets"
    (secrets / "..data").mkdir(parents=True)
    (secrets / "..data" / "edge__kafka__password").write_text("canary\n")
    (secrets / "edge__kafka__password").symlink_to("..data/edge__kafka__password")
    for name in ("ca.pem", "db__password", "README", ".hidden", "replicator__source__password"):
        (secrets / name).write_text("canary")
    monkeypatch.setenv("HEADWATER_SECRETS", str(secrets))
    return secrets


def test_a_folder_may_hold_what_is_not_ours(folder: Path) -> None:
    """Certificates, hidden files, other sections and other programs."""
    assert load("edge", Edge, {"site": "lyon"}).kafka.password == SecretStr("canary")


@pytest.mark.parametrize(
    "name",
    ["edge__kafka__pasword", "edge_kafka_password", "EDGE__KAFKA__PASSWORD", "egde__kafka__password", "edge__password"],
)
def test_a_misspelt_file_is_answered_with_the_right_name(folder: Path, name: str) -> None:
    """Otherwise the login would fail for a reason that nothing names; its content is in no message."""
    (folder / name).write_text("canary")
    with pytest.raises(BadSetting, match=name) as caught:
        load("edge", Edge, {"site": "lyon"})
    assert "edge__kafka__password" in caught.value.hint
    assert "canary" not in str(caught.value)
    assert [str(problem) for problem in problems("edge", Edge)] == [str(caught.value)]


@pytest.mark.parametrize("named", ["missing", "secrets/ca.pem"])
def test_a_folder_that_is_none_is_named(folder: Path, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that failed is no reason to go on without a password."""
    monkeypatch.setenv("HEADWATER_SECRETS", named)
    with pytest.raises(BadSetting, match=f"HEADWATER_SECRETS names {named}, which cannot be read"):
        load("edge", Edge, {"site": "lyon"})


@pytest.mark.parametrize("endless", ["inf", "nan"])
def test_a_number_without_end_is_refused(folder: Path, endless: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of that length would never be over."""
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "lyon")
    monkeypatch.setenv("HEADWATER_EDGE__POLL_S", endless)
    with pytest.raises(BadSetting, match=r"edge\.poll_s") as caught:
        load("edge", Edge)
    assert [str(problem) for problem in problems("edge", Edge)] == [str(caught.value)]
