"""Settings as they are shown to people and to programs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from edge_agent.settings import EdgeSettings
from headwater.app.config import app
from headwater.app.values import defaults, toml


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of this test only."""
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    "value", [("pump",), False, 4, 0.5, 'a "b"\n\\', {"cleanup.policy": "delete"}, {}, (), {"a": [{"b": 1}]}]
)  # fmt: skip
def test_a_value_is_shown_as_toml(value: object) -> None:
    """What is shown can be put into headwater.toml as it stands."""
    assert json.loads(json.dumps(value)) == tomllib.loads(f"x = {toml(value)}")["x"]


def test_what_is_no_value_and_what_is_secret_is_said() -> None:
    """A secret stays one inside of a list too."""
    assert (toml(None), toml([SecretStr("canary")])) == ("(none)", "[(secret, set)]")


def test_defaults_say_what_must_be_set_and_what_need_not() -> None:
    """A registry is used by nobody unless it is named; the broker has a default in its section."""
    found = defaults("edge", EdgeSettings)

    assert found["edge.site"] == "(must be set)"
    assert found["edge.kafka.brokers"] == '"127.0.0.1:9092"'
    assert found["edge.bridge.schema_registry.url"] == "(none; must be set to use edge.bridge.schema_registry)"
    assert found["edge.updater.asset_classes"] == '["pump"]'


def test_values_are_shown_without_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither tuples nor None nor names of classes; JSON has the same as values."""
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "lyon")
    shown = run("show", "edge").stdout

    assert not any(word in shown for word in ("None", "True", "False", "RouteSettings", "('"))
    found = json.loads(run("show", "edge", "--json").stdout)
    assert found["edge.bridge.routes"][0]["match"] == "{site}/{class}/{asset}"
    assert found["edge.updater.asset_classes"] == ["pump"]


def test_every_wrong_name_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the file, of the environment and of routes, each once, and values that have no sense."""
    (tmp_path / "headwater.toml").write_text(
        '[edge]\nsight = "lyon"\npartitions = "many"\n[edge.mqtt]\nhots = "a"\n[[edge.bridge.routes]]\nmatcj = "x"\n'
    )
    monkeypatch.setenv("HEADWATER_EDGE__KAFKA__BROKRS", "a:1")
    done = run("check", "edge")

    assert done.exit_code == 2
    wrong = (
        "edge.sight",
        "edge.mqtt.hots",
        "KAFKA__BROKRS",
        "routes.0.matcj",
        "edge.partitions",
        "edge.site is missing",
    )
    for name in wrong:
        assert sum(name in line for line in done.stdout.splitlines()) == 1, name
    told = json.loads(run("check", "edge", "--json").stdout)["parts"]["edge"]
    assert told["state"] == "wrong"
    assert "did you mean edge.site?" in [each["what_to_do"] for each in told["problems"]]


def test_a_check_says_as_json_what_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object a part."""
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "lyon")
    found = json.loads(run("check", "--json").stdout)["parts"]
    assert (found["edge"], found["fleet"]) == ({"state": "good"}, {"state": "not configured"})


def test_a_section_explains_its_settings() -> None:
    """Each setting below it; a name that is neither gets the nearest."""
    done = run("explain", "edge.updater")
    assert done.exit_code == 0
    assert 'edge.updater.asset_classes = ["pump"]\n  Classes of machines' in done.stdout
    assert "edge.updater.objects.bucket" in done.stdout
    assert "edge.mqtt" not in done.stdout
    found = json.loads(run("explain", "edge.updater", "--json").stdout)
    assert found["settings"][0]["environment"] == "HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT"
    assert json.loads(run("explain", "edge.site", "--json").stdout)["default"] == "(must be set)"
    assert "there is no setting edge.updatr" in str(run("explain", "edge.updatr").exception)
