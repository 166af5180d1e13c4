"""Where settings come from, and what is said about wrong ones."""

from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr

from headwater.contract.errors import BadSetting
from headwater.transport.settings import load


class Kafka(BaseModel, frozen=True, extra="forbid"):
    brokers: str = "localhost:9092"
    password: SecretStr | None = None


class Edge(BaseModel, frozen=True, extra="forbid"):
    site: str
    kafka: Kafka = Kafka()
    classes: tuple[str, ...] = ()
    poll_s: float = Field(1.0, gt=0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_line_wins_over_environment_over_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source overrides the next, setting by setting."""
    (folder / "headwater.toml").write_text('[edge]\nsite = "file"\npoll_s = 3\n[edge.kafka]\nbrokers = "file:1"\n')
    assert load("edge", Edge) == Edge(site="file", poll_s=3, kafka=Kafka(brokers="file:1"))
    monkeypatch.setenv("HEADWATER_EDGE__KAFKA__BROKERS", "env:1")
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "env")

    assert load("edge", Edge, {"site": "option"}) == Edge(site="option", poll_s=3, kafka=Kafka(brokers="env:1"))


def test_a_secret_may_be_a_file_and_never_prints(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted secrets folder is read; the value is in no representation."""
    secrets = folder / "secrets"
    secrets.mkdir()
    (secrets / "edge__kafka__password").write_text("canary")
    monkeypatch.setenv("HEADWATER_SECRETS", str(secrets))

    loaded = load("edge", Edge, {"site": "lyon"})
    assert loaded.kafka.password == SecretStr("canary")
    assert "canary" not in repr(loaded)


@pytest.mark.parametrize(
    ("file", "said", "hint"),
    [
        ('[edge]\nsight = "x"', "edge.sight", "edge.site"),
        ('[edge]\nsite="x"\n[edge.kafka]\nbroker = "x"', "edge.kafka.broker", "edge.kafka.brokers"),
        ("[egde]\n", "[egde]", "edge"),
        ("[edge]\nsite = 'a'\npoll_s = 0", "edge.poll_s", "HEADWATER_EDGE__POLL_S"),
        ("[edge]\n", "edge.site is missing", "HEADWATER_EDGE__SITE"),
        ("edge = 1", "not a section", ""),
        ("[edge", "not TOML", ""),
    ],
)
def test_a_wrong_setting_is_answered_with_the_right_name(folder: Path, file: str, said: str, hint: str) -> None:
    """The message names the setting and where it was set, the hint what was meant."""
    (folder / "headwater.toml").write_text(file)
    with pytest.raises(BadSetting) as caught:
        load("edge", Edge)

    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error in the environment is not silently ignored."""
    monkeypatch.setenv("HEADWATER_EDGE__KAFKA__BROKRES", "x")
    with pytest.raises(BadSetting) as caught:
        load("edge", Edge, {"site": "lyon"})

    assert "HEADWATER_EDGE__KAFKA__BROKERS" in caught.value.hint


@pytest.mark.parametrize("name", ["KAFKA", "CLASSES"])
def test_a_variable_that_is_not_json_is_named_without_its_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table or list in the environment that cannot be read never shows what it holds, which may be a secret."""
    monkeypatch.setenv(f"HEADWATER_EDGE__{name}", "SEKRIT")
    with pytest.raises(BadSetting, match=f"HEADWATER_EDGE__{name} is not JSON") as caught:
        load("edge", Edge, {"site": "lyon"})

    assert "SEKRIT" not in f"{caught.value}{caught.value.hint}{caught.value.__cause__}"


def test_a_secret_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are no text, and a file that nobody may read, end in a sentence with the file's name."""
    monkeypatch.setenv("HEADWATER_SECRETS", str(folder))
    secret = folder / "edge__kafka__password"
    secret.write_bytes(b"\xffcanary")
    with pytest.raises(BadSetting, match="edge__kafka__password is not UTF-8 text"):
        load("edge", Edge, {"site": "lyon"})
    secret.unlink()
    secret.symlink_to("/proc/self/mem")  # opens, and fails to be read at 0, for every user
    with pytest.raises(BadSetting, match="edge__kafka__password cannot be read"):
        load("edge", Edge, {"site": "lyon"})
