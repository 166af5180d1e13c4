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
        "routes.matcj (number 1)",
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
    assert (found["edge"], found["fleet"]) == ({"state": "good", "notes": []}, {"state": "not configured"})


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


def test_a_list_of_tables_is_explained_as_it_is_written() -> None:
    """No variable for a single table exists, so none is told; values and bounds stand beside each setting."""
    told = run("explain", "edge.bridge.routes.decoder.kind").stdout
    assert "headwater.toml: [[edge.bridge.routes]] decoder = { kind = ... }" in told
    assert "environment: in the JSON of HEADWATER_EDGE__BRIDGE__ROUTES" in told
    assert "values: raw, json, scalar, csv" in told
    section = run("explain", "edge.bridge.routes").stdout
    assert "[[edge.bridge.routes]]" in section
    assert "HEADWATER_EDGE__BRIDGE__ROUTES='[{...}]', as JSON" in section
    assert "values: stop, drop-oldest, drop-qos0" in run("explain", "edge.bridge.spool.full").stdout
    assert "values: 4194304 or more" in run("explain", "edge.bridge.spool.bytes").stdout
    assert "ROUTES__" not in section


def test_a_wrong_value_is_told_with_its_place_and_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file or the variable, the table counted from 1, the nearest word; none of it in the words of a library."""
    (tmp_path / "headwater.toml").write_text(
        '[edge]\nsite = "lyon"\n[edge.bridge]\ngather_ms = "x"\n[[edge.bridge.routes]]\n[[edge.bridge.routes]]\n'
        'decoder = { kind = "csw" }\n[[edge.bridge.routes]]\nkey = "{nobody}"\n'
    )
    monkeypatch.setenv("HEADWATER_EDGE__BRIDGE__CODEC", "lz5")
    told = run("check", "edge").stdout

    assert "headwater.toml: the setting edge.bridge.routes.decoder.kind (number 2): 'csw' is not one of raw" in told
    assert "(did you mean csv?)" in told
    assert "headwater.toml: the setting edge.bridge.routes (number 3): '{nobody}'" in told
    assert "headwater.toml: the setting edge.bridge.gather_ms: it must be a number" in told
    assert "environment: HEADWATER_EDGE__BRIDGE__CODEC: the setting edge.bridge.codec: 'lz5' is not one of" in told
    assert not any(word in told for word in ("Value error", "Input should", "tuple"))


@pytest.mark.parametrize("name", ["ROUTES__MATCH", "ROUTES__0__MATCH"])
def test_a_variable_for_a_table_of_a_list_is_told_what_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a list have no variables: the file or JSON."""
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "lyon")
    monkeypatch.setenv(f"HEADWATER_EDGE__BRIDGE__{name}", "{site}/#")
    (told,) = run("check", "edge").stdout.splitlines()

    assert "write [[edge.bridge.routes]] in headwater.toml" in told
    assert "HEADWATER_EDGE__BRIDGE__ROUTES='[{...}]'" in told


def test_one_table_where_a_list_belongs_is_told(tmp_path: Path) -> None:
    """[edge.bridge.routes] for [[edge.bridge.routes]]."""
    (tmp_path / "headwater.toml").write_text('[edge]\nsite = "lyon"\n[edge.bridge.routes]\nmatch = "{site}/#"\n')
    (told,) = run("check", "edge").stdout.splitlines()

    assert "the setting edge.bridge.routes: it must be a list of tables" in told
    assert "write [[edge.bridge.routes]] in headwater.toml" in told


def write_routes(folder: Path, text: str, schemas: str = "") -> None:
    (folder / "headwater.toml").write_text(f'[edge]\nsite = "lyon"\n[edge.bridge]\n{schemas}\n{text}')


def test_what_the_bridge_would_refuse_at_its_start_is_found(tmp_path: Path) -> None:
    """A schema without a file, one that no table names, a message that is not in it, a registry that is not set."""
    avro = '[[edge.bridge.routes]]\nmatch = "{site}/a/{asset}"\nasset_class = "a"\ndecoder = { kind = "avro", %s }\n'
    plain = "[[edge.bridge.routes]]\n"
    write_routes(tmp_path, plain + avro % 'schema_name = "cell"')
    none = run("check", "edge")
    write_routes(tmp_path, avro % 'schema_name = "cell"', 'schemas = { cel = "headwater.toml" }')
    near = run("check", "edge").stdout
    write_routes(tmp_path, avro % 'schema_name = "cell"', 'schemas = { cell = "none.avsc" }')
    away = run("check", "edge").stdout
    write_routes(tmp_path, avro % 'framing = "confluent"')
    registry = run("check", "edge").stdout

    assert none.exit_code == 2
    assert "route 2 ({site}/a/{asset}): there is no schema 'cell' in [edge.bridge.schemas]" in none.stdout
    assert 'add `cell = "FILE"`' in none.stdout
    assert "did you mean cel?" in near
    assert "the schema 'cell' cannot be read from none.avsc: No such file" in away
    assert "set edge.bridge.schema_registry.url" in registry


def test_a_message_that_is_not_in_the_descriptor_is_found(tmp_path: Path) -> None:
    """With the route and the nearest name."""
    from google.protobuf import timestamp_pb2  # noqa: PLC0415 - needed here alone
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet  # noqa: PLC0415 - as above

    file = FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb)
    (tmp_path / "t.pb").write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
    decoder = 'decoder = { kind = "protobuf", schema_name = "t", message = "google.protobuf.Timestomp" }\n'
    write_routes(tmp_path, f"[[edge.bridge.routes]]\n{decoder}", 'schemas = { t = "t.pb" }')

    told = run("check", "edge").stdout
    assert "route 1 ({site}/{class}/{asset}): the schema 't' has no message" in told
    assert "did you mean google.protobuf.Timestamp?" in told


def test_a_route_that_never_has_a_message_is_told(tmp_path: Path) -> None:
    """It is allowed, so it is a note; one that has some topics of its own is none."""
    wide = "[[edge.bridge.routes]]\n"
    narrow = '[[edge.bridge.routes]]\nmatch = "{site}/pump/{asset}"\nasset_class = "pump"\n'
    write_routes(tmp_path, narrow + wide)
    apart = run("check", "edge")
    write_routes(tmp_path, wide + narrow)
    below = run("check", "edge")

    assert (apart.stdout, apart.exit_code, below.exit_code) == ("edge: good\n", 0, 0)
    assert "note: route 2 ({site}/pump/{asset}) never has a message: route 1 ({site}/{class}/{asset})" in below.stdout
    (note,) = json.loads(run("check", "edge", "--json").stdout)["parts"]["edge"]["notes"]
    assert note.startswith("route 2")
