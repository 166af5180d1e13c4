"""Reports and events over a real Kafka, and the commands as an operator types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fleet import documents
from fleet.cli import app
from fleet.events import FleetEvent, KafkaJournal
from fleet.reports import KafkaReports
from headwater.app.cli import main
from headwater.contract import messages, topics
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE
from headwater.contract.messages import Active, Refusal, Status
from headwater.contract.rollout import Rollout, Target
from headwater.transport.kafka import ensure_topics, send
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_tail
from headwater.transport.objects import ObjectSettings, open_store
from headwater.transport.registry.publisher import Publisher
from tests.edge_agent.scorer.models import make


def status(site: str, seq: int, version: int) -> Status:
    active = {"pump": Active(version, "a" * 64, {}, 0, 0, "download")}
    return Status(site, seq, 0, "agent", "runtime", active, {"pump": 1}, [], {}, {})


def test_the_newest_status_of_each_site_is_read(kafka: str, unique: str) -> None:
    """Compacted topics are read whole; a site without a topic, or with a broken record, is silent."""
    settings = KafkaSettings(brokers=kafka)
    site, broken = f"a-{unique[-8:]}", f"b-{unique[-8:]}"
    names = [topics.remote(one, topics.STATUS) for one in (site, broken)]
    ensure_topics(settings, [topics.TopicSpec(name, 1, topics.COMPACT) for name in names])
    for seq in (1, 2):
        send(settings, names[0], site.encode(), messages.encode(status(site, seq, seq)))
    send(settings, names[1], broken.encode(), b"nonsense")

    found = KafkaReports(settings).read([site, broken, f"c-{unique[-8:]}"])

    assert {name: report.seq for name, report in found.items()} == {site: 2}


async def test_events_are_records_keyed_by_rollout(kafka: str, unique: str) -> None:
    """Each transition is one record that says what, who and when."""
    settings = KafkaSettings(brokers=kafka)
    rollout = Rollout(unique, "pump", 7, Target(2, "b" * 64), None, ("lyon",), 1, "running")
    KafkaJournal(settings).write("wave", rollout, "wave 1")

    async with Cluster(settings, client_id="test") as cluster:
        [record] = await read_tail(cluster, topics.FLEET_EVENTS, 0, 1)
    assert record.key == unique.encode()
    event = messages.decode(record.value, FleetEvent)
    assert (event.event, event.generation, event.target, event.detail) == ("wave", 7, 2, "wave 1")
    assert event.by


@pytest.fixture
def operator(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs `headwater fleet ...` in a folder with its own store and keys; returns the JSON that it prints."""
    config = tmp_path / "headwater.toml"
    config.write_text(
        f'[fleet]\nkeys = "{tmp_path}/keys"\nwave_timeout_s = 1\npoll_interval_s = 0.05\n'
        f'kafka.brokers = "{kafka}"\nobjects.endpoint = "file://{tmp_path}/store"\n'
    )
    monkeypatch.setenv("HEADWATER_CONFIG", str(config))

    def call(*words: str) -> Any:
        result = CliRunner().invoke(app, [*words, "--json"])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return call


def model_folder(folder: Path, version: int) -> str:
    """A folder as `headwater fleet publish` takes it."""
    data, manifest = make(version)
    folder.mkdir(exist_ok=True)
    (folder / MODEL_FILE).write_bytes(data)
    (folder / MANIFEST_FILE).write_bytes(manifest.encode())
    return str(folder)


def test_an_operator_s_day(operator: Any, kafka: str, tmp_path: Path, unique: str) -> None:
    """Keys, a model, a dry run, a rollout that the site reports, a second one, and the way back by a pin."""
    site = f"s-{unique[-8:]}"
    settings = KafkaSettings(brokers=kafka)
    topic = topics.remote(site, topics.STATUS)
    ensure_topics(settings, [topics.TopicSpec(topic, 1, topics.COMPACT)])

    def report(version: int) -> None:
        active = {"pump": Active(version, make(version)[1].sha256, {}, 0, 0, "download")}
        told = Status(site, version, 0, "", "", active, {}, [], {}, {})
        send(settings, topic, site.encode(), messages.encode(told))

    assert operator("keys", "init")["done"] is True
    for version in (1, 2):
        assert operator("publish", model_folder(tmp_path / "m", version))["version"] == version
    move = ("rollout", "start", "--class", "pump", "--sites", site, "--waves", "1")
    assert operator(*move, "--version", "1", "--dry-run") == {"waves": [[site]], "done": False}
    assert operator("rollout", "status")["rollouts"] == []
    for version in (1, 2):
        report(version)
        assert operator(*move, "--version", str(version))["state"] == "complete"
    [shown] = operator("rollout", "status", "--class", "pump")["rollouts"]
    assert (shown["target"], shown["sites"][0]["version"]) == (2, 2)
    report(1)
    assert operator("rollout", "rollback", "--class", "pump", "--site", site)["pins"][site]["version"] == 1
    assert operator("renew")["done"] is True


def test_a_rollout_that_waits_says_for_what_and_how_to_go_on(
    operator: Any, kafka: str, tmp_path: Path, unique: str
) -> None:
    """Whose command was killed: what the site refuses, of this class alone, and both ways to end it."""
    site = f"s-{unique[-8:]}"
    settings = KafkaSettings(brokers=kafka)
    topic = topics.remote(site, topics.STATUS)
    ensure_topics(settings, [topics.TopicSpec(topic, 1, topics.COMPACT)])
    refused = [
        Refusal("pump", 1, "class-not-loaded", "class pump is not among edge.asset_classes", 1, 0),
        Refusal("engine", 7, "not-signed", "engine v7", 9, 0),
    ]
    send(settings, topic, site.encode(), messages.encode(Status(site, 1, 0, "", "", {}, {}, refused, {}, {})))
    operator("keys", "init")
    operator("publish", model_folder(tmp_path / "m", 1))
    store = open_store(ObjectSettings(endpoint=f"file://{tmp_path}/store"))
    signed = documents.Documents(Publisher(store, tmp_path / "keys", "rollout"))
    signed.publish(documents.reach(documents.begin(None, "pump", signed.target("pump", 1), [site], ""), 1))

    [shown] = operator("rollout", "status")["rollouts"]
    assert shown["sites"][0]["refused"] == "1: class-not-loaded (class pump is not among edge.asset_classes)"
    said = CliRunner().invoke(app, ["rollout", "status"]).stdout
    assert f"{site}: runs nothing yet, should 1; refused 1: class-not-loaded" in said
    assert "1 of 1 sites were sent it, the last at 20" in said
    for way in ("resume", "rollback"):
        assert f"headwater fleet rollout {way} --class pump" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["rollout", "start", "--class", "pump", "--version", "1", "--sites", "lyon", "--waves", "1"], 6),
        (["rollout", "start", "--class", "pump", "--version", "9", "--sites", "lyon"], 2),
        (["rollout", "start", "--class", "pump", "--version", "1", "--sites", "lyon", "--waves", "x"], 2),
        (["rollout", "resume", "--class", "pump"], 2),
        (["keys", "init"], 3),
        (["publish", "nowhere"], 2),
    ],
)
def test_exit_codes_are_those_of_the_table(
    operator: Any, tmp_path: Path, words: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes wrong is said in one sentence without a traceback, and the exit code tells scripts."""
    operator("keys", "init")
    operator("publish", model_folder(tmp_path / "m", 1))
    with pytest.raises(SystemExit) as caught:
        main(["fleet", *words])
    assert caught.value.code == code
    assert "headwater: " in (said := capsys.readouterr().err)
    assert "Traceback" not in said
