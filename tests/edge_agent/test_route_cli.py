"""`headwater edge route`: what would become of a message, said without a broker."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge_agent.bridge.schemas import kept_in
from edge_agent.route_cli import app
from headwater.contract.errors import BadInput, BadSetting
from headwater.contract.partitioning import partition_of
from tests.transport.test_schema_registry import Registry, registry  # noqa: F401 - a fixture

GOOD = '{"v":1,"t":1763718300000,"values":{"flow":31.2}}'
CELLS = {
    "match": "{site}/cells/{asset}",
    "asset_class": "cell",
    "decoder": {"kind": "json", "time": "at", "values": {"heat": "h"}, "missing": "refuse"},
}
TOML = """
[edge]
site = "osaka"
[[edge.bridge.routes]]
match = "{site}/cells/{asset}"
asset_class = "cell"
[edge.bridge.routes.decoder]
kind = "json"
%s = "at"
values = { heat = "h" }
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of this test only, and no broker anywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_EDGE__SITE", "lyon")
    monkeypatch.setenv("HEADWATER_EDGE__KAFKA__BROKERS", "127.0.0.1:1")


def table(monkeypatch: pytest.MonkeyPatch, *routes: dict[str, Any]) -> None:
    monkeypatch.setenv("HEADWATER_EDGE__BRIDGE__ROUTES", json.dumps(routes))


def run(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=given)


def tried(*arguments: str, given: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("test", *arguments, "--json", given=given).stdout)
    return found


def test_a_message_is_shown_as_it_would_be_written() -> None:
    """Route, Kafka topic, key, the partition that Kafka's own rule gives, headers, and the value."""
    (record,) = tried("lyon/pump/p-3", GOOD, "--partitions", "7")["records"]

    assert (record["to"], record["key"], record["partition"]) == ("readings", "p-3", partition_of(b"p-3", 7))
    assert record["headers"] == {"hw-mqtt-topic": "lyon/pump/p-3", "hw-class": "pump"}
    assert record["value"] == GOOD
    shown = run("test", "lyon/pump/p-3", GOOD)
    assert (shown.exit_code, "record     readings" in shown.stdout) == (0, True)


def test_the_order_of_overlapping_routes_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that fits has the topic, and the others that fit are named."""
    table(monkeypatch, CELLS, {})

    found = tried("lyon/cells/c1", '[{"at":5,"h":1},{"at":6,"h":2}]')

    assert (found["route"], found["also_fit"]) == ("lyon/cells/{asset}", ["lyon/{class}/{asset}"])
    assert [json.loads(each["value"])["values"]["heat"] for each in found["records"]] == [1, 2]
    assert found["records"][1]["headers"]["hw-sensor-time"] == "6"


def test_a_refusal_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload that its decoder does not read: the dead letter, its reason, and exit status 2."""
    table(monkeypatch, CELLS)

    for payload, reason in (('{"at":5}', "value-missing"), ("{", "bad-payload"), ('{"h":1}', "bad-time")):
        done = run("test", "lyon/cells/c1", payload)
        assert (done.exit_code, f"refused    {reason}" in done.stdout) == (2, True)
    assert "topic-not-routed" in run("test", "lyon/cells/c1/more", "x").stdout
    assert tried("lyon/cells/c1", "x" * 800_000)["refusal"]["reason"] == "too-large"


def test_what_never_arrives_and_what_nobody_reads_is_said() -> None:
    """A topic outside of the subscription, and a record of `readings` that is no reading."""
    assert not tried("osaka/pump/p1", GOOD)["arrives"]
    away = run("test", "osaka/pump/p1", GOOD)
    assert (away.exit_code, "it never arrives" in away.stdout) == (2, True)
    assert "dead-letters" not in away.stdout, "what never arrives becomes no record"
    refused = run("test", "lyon/pump/p1", "31.2")
    assert (refused.exit_code, "the scorer will refuse it" in refused.stdout) == (2, True)


@pytest.mark.parametrize("topic", ["lyon/#", "lyon/+/p1", ""])
def test_what_nobody_can_publish_to_is_no_topic(topic: str) -> None:
    """A filter is refused with what to give instead."""
    error = run("test", topic, GOOD).exception

    assert isinstance(error, BadInput)
    assert "nobody can publish to" in str(error)
    assert "lyon/pump/pump-3" in error.hint


def test_a_route_below_one_that_has_all_of_its_topics_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, by + and by #; routes that share some topics only are not named."""
    one = {"match": "{site}/pump/{asset}", "asset_class": "pump"}
    table(
        monkeypatch,
        {},
        one,
        {"match": "{site}/#", "key": "x", "asset_class": ""},
        {"match": "{site}/+/b/#", "key": "x", "asset_class": ""},
        one,
    )

    notes = json.loads(run("list", "--json").stdout)["notes"]

    assert [note.split(" (")[0] for note in notes] == ["route 2", "route 4", "route 5"]
    assert "note: route 2 ({site}/pump/{asset}) never has a message: route 1 (" in run("list").stdout


def test_a_payload_comes_from_a_file_or_the_standard_input(tmp_path: Path) -> None:
    """Bytes that no shell can write."""
    (tmp_path / "payload").write_bytes(b"\xff\x00")

    assert tried("lyon/pump/p1", "@payload")["records"][0]["value"] == "\\xff\x00"
    assert tried("lyon/pump/p1", "-", given=GOOD)["records"][0]["value"] == GOOD
    assert "no-such-file cannot be read" in str(run("test", "lyon/pump/p1", "@no-such-file").exception)


AVRO = {"type": "record", "name": "Cell", "fields": [{"name": "at", "type": "long"}, {"name": "h", "type": "double"}]}


def test_schemas_of_the_settings_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A route by `schema_name` is listed and tried with the files of edge.bridge.schemas."""
    (tmp_path / "cell.avsc").write_text(json.dumps(AVRO))
    (tmp_path / "payload").write_bytes(b"\x0a" + struct.pack("<d", 31.5))
    monkeypatch.setenv("HEADWATER_EDGE__BRIDGE__SCHEMAS", '{"cell": "cell.avsc"}')
    decoder = {"kind": "avro", "schema_name": "cell", "time": "at", "values": {"heat": "h"}}
    table(monkeypatch, {"match": "{site}/cells/{asset}", "asset_class": "cell", "decoder": decoder})

    (record,) = tried("lyon/cells/c1", "@payload")["records"]

    assert json.loads(record["value"])["values"] == {"heat": 31.5}
    assert run("test", "lyon/cells/c1", "@payload").exit_code == 0
    assert run("list").exit_code == 0


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A route whose messages name schemas, and such a message."""
    decoder = {"kind": "avro", "framing": "confluent", "time": "at", "values": {"heat": "h"}}
    table(monkeypatch, {"match": "{site}/cells/{asset}", "asset_class": "cell", "decoder": decoder})
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path / "home"))
    payload = tmp_path / "payload"
    payload.write_bytes(b"\0\0\0\0\7\x0a" + struct.pack("<d", 31.5))
    return payload


def test_the_schema_that_a_message_names_is_fetched(
    registry: Registry,  # noqa: F811 - the fixture
    named: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the registry of the settings, as the bridge does; what it does not have is said in its words."""
    monkeypatch.setenv("HEADWATER_EDGE__BRIDGE__SCHEMA_REGISTRY__URL", registry.url)
    missing = tried("lyon/cells/c1", f"@{named}")["refusal"]
    registry.has("/schemas/ids/7", {"schema": json.dumps(AVRO)})

    (record,) = tried("lyon/cells/c1", f"@{named}")["records"]

    assert json.loads(record["value"])["values"] == {"heat": 31.5}
    assert (missing["reason"], f"{registry.url} has no schema 7" in missing["detail"]) == ("schema-unknown", True)
    asked = len(registry.asked)
    offline = run("test", "lyon/cells/c1", f"@{named}", "--offline")
    assert (offline.exit_code, len(registry.asked)) == (2, asked)
    assert "nothing is asked (--offline)" in offline.stdout
    assert f"without --offline it is fetched from {registry.url}" in offline.stdout


def test_a_schema_that_the_bridge_has_kept_needs_no_registry(
    named: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It answers while the registry is away and offline; without it a sentence says who does not answer."""
    url = "http://127.0.0.1:1"
    monkeypatch.setenv("HEADWATER_EDGE__BRIDGE__SCHEMA_REGISTRY__URL", url)

    away = run("test", "lyon/cells/c1", f"@{named}")
    kept = kept_in(tmp_path / "home/edge/lyon", url)
    kept.mkdir(parents=True)
    (kept / "7").write_text(json.dumps(AVRO))

    assert away.exit_code == 2
    assert f"schema 7 could not be fetched: the schema registry {url} does not answer" in away.stdout
    assert "the bridge would hold the message for up to 60 s" in away.stdout
    for more in ([], ["--offline"]):
        (record,) = tried("lyon/cells/c1", f"@{named}", *more)["records"]
        assert json.loads(record["value"])["values"] == {"heat": 31.5}


def test_a_named_schema_without_a_registry_is_said(named: Path) -> None:
    """With the setting to make."""
    done = run("test", "lyon/cells/c1", f"@{named}")

    assert done.exit_code == 2
    assert "names schema 7, and there is no schema registry to ask" in done.stdout
    assert "set edge.bridge.schema_registry.url" in done.stdout


def test_control_characters_of_a_payload_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """A binary payload is shown escaped; what can be read stays as it is."""
    (tmp_path / "payload").write_bytes("é\x1b[2J\x07\r\n\x9b".encode())

    shown = run("test", "lyon/pump/p1", "@payload").stdout

    assert "value      é\\x1b[2J\\x07\\r\\n\\x9b\n" in shown
    assert not set(shown) & {"\x1b", "\x07", "\r", "\x9b"}


def test_the_list_shows_the_table_and_the_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes as headwater.toml has them, in their order."""
    monkeypatch.delenv("HEADWATER_EDGE__SITE")
    (tmp_path / "headwater.toml").write_text(TOML % "time")

    shown = run("list").stdout

    assert " 1  {site}/cells/{asset} -> readings  (key {asset}" in shown
    assert "subscribed to: osaka/cells/#" in shown
    found = json.loads(run("list", "--json").stdout)
    assert (found["filters"], found["routes"][0]["decoder"]) == (["osaka/cells/#"], "json")


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        ({"matcj": "{site}/#"}, "no setting edge.bridge.routes.matcj (number 1)", "did you mean match?"),
        (
            {"decoder": {"kind": "json", "valuess": {}}},
            "no setting edge.bridge.routes.decoder.valuess (number 1)",
            "values?",
        ),
        (
            {"decoder": {"kind": "jsom"}},
            "ROUTES: the setting edge.bridge.routes.decoder.kind (number 1): 'jsom' is not one of raw, json,",
            "did you mean json?",
        ),
        ({"to": 5}, "edge.bridge.routes.to (number 1): it must be a text", "ROUTES, as JSON"),
        ({"decoder": {"kind": "avro", "schema_name": "none"}}, "there is no schema 'none'", ""),
    ],
)
def test_a_wrong_route_is_answered_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], says: str, hint: str
) -> None:
    """In the environment as in the file, deep inside of the table too."""
    table(monkeypatch, wrong)

    error = run("list").exception

    assert isinstance(error, BadSetting)
    assert says in str(error)
    assert hint in error.hint


def test_a_wrong_name_in_the_file_is_answered_too(tmp_path: Path) -> None:
    """[[edge.bridge.routes]] of headwater.toml."""
    (tmp_path / "headwater.toml").write_text(TOML % "tine")

    error = run("list").exception

    assert isinstance(error, BadSetting)
    assert (str(error), error.hint) == (
        "headwater.toml: there is no setting edge.bridge.routes.decoder.tine (number 1)",
        "did you mean time?",
    )
