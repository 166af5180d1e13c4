"""Topics, groups and single records through confluent_kafka, on a real broker."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from headwater.contract.errors import BadInput, BadSetting, Conflict, Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import GroupReader, GroupRecord, ensure_topics, send, topic_names
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.librdkafka import librdkafka


@pytest.fixture
def settings(kafka: str) -> KafkaSettings:
    return KafkaSettings(brokers=kafka, request_timeout_s=10)


@pytest.fixture
def topic(settings: KafkaSettings, unique: str) -> str:
    ensure_topics(settings, [TopicSpec(unique, 2)])
    return unique


def take(reader: GroupReader, count: int, deadline_s: float = 20.0) -> list[GroupRecord]:
    found: list[GroupRecord] = []
    until = time.monotonic() + deadline_s
    while len(found) < count and time.monotonic() < until:
        record = reader.next(0.2)
        if record is not None:
            found.append(record)
    return found


def test_topics_are_made_once_and_as_asked(settings: KafkaSettings, unique: str) -> None:
    """Missing topics are created with partitions and configuration; a second call finds nothing to do."""
    specs = [TopicSpec(f"{unique}-a", 3, {"cleanup.policy": "compact"}), TopicSpec(f"{unique}-b", 1)]
    assert sorted(ensure_topics(settings, specs[:1])) == [f"{unique}-a"]
    assert sorted(ensure_topics(settings, specs)) == [f"{unique}-b"]
    assert ensure_topics(settings, specs) == []
    assert {f"{unique}-a", f"{unique}-b"} <= set(topic_names(settings))


def test_processes_that_make_the_same_topic_at_once_all_succeed(settings: KafkaSettings, unique: str) -> None:
    """Four at once: one creates it, nobody fails."""
    made: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: made.append(ensure_topics(settings, [TopicSpec(unique, 2)]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [[], [], [], [unique]]


def test_another_number_of_partitions_is_a_conflict(settings: KafkaSettings, topic: str) -> None:
    """Partitions are never added behind the owner's back, and nothing else is created then."""
    with pytest.raises(Conflict, match="has 2 partitions, expected 5"):
        ensure_topics(settings, [TopicSpec(topic, 5), TopicSpec(f"{topic}-new", 1)])
    assert ensure_topics(settings, [TopicSpec(f"{topic}-new", 1)]) == [f"{topic}-new"]


def test_a_configuration_that_kafka_does_not_know_is_named(settings: KafkaSettings, unique: str) -> None:
    """The broker's sentence comes through as bad input."""
    with pytest.raises(BadInput, match=r"40 INVALID_CONFIG.*no\.such\.config"):
        ensure_topics(settings, [TopicSpec(unique, 1, {"no.such.config": "1"})])


def test_a_record_that_was_sent_is_read_by_a_group(settings: KafkaSettings, topic: str) -> None:
    """Key, value, headers and place go through, null values too."""
    headers = (("a", b"1"), ("none", None), ("a", b""))
    assert send(settings, topic, b"k", b"v", headers, partition=1) == (1, 0)
    assert send(settings, topic, None, None, partition=1) == (1, 1)
    with GroupReader(settings, topic, [topic]) as reader:
        found = take(reader, 2)
    assert [(r.topic, r.partition, r.offset, r.key, r.value, r.headers) for r in found] == [
        (topic, 1, 0, b"k", b"v", headers),
        (topic, 1, 1, None, None, ()),
    ]


def test_a_record_is_committed_only_when_the_next_one_is_asked_for(settings: KafkaSettings, topic: str) -> None:
    """A reader that dies while it works on a record leaves it to the next one; finished ones do not come again."""
    for index in range(3):
        send(settings, topic, b"k", b"%d" % index, partition=0)
    with GroupReader(settings, topic, [topic]) as reader:
        assert [r.value for r in take(reader, 2)] == [b"0", b"1"]
    with GroupReader(settings, topic, [topic]) as reader:
        assert [r.value for r in take(reader, 2)] == [b"1", b"2"]
        assert reader.next(0.1) is None
    send(settings, topic, b"k", b"3", partition=0)
    with GroupReader(settings, topic, [topic]) as reader:
        assert [r.value for r in take(reader, 1)] == [b"3"]


def test_nobody_listening_is_unreachable() -> None:
    """Each call ends within its bound and in words."""
    nowhere = KafkaSettings(brokers="127.0.0.1:1", request_timeout_s=1, connect_timeout_s=1)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        topic_names(nowhere)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        ensure_topics(nowhere, [TopicSpec("t", 1)])
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        send(nowhere, "t", b"k", b"v")


def test_settings_become_librdkafkas(tmp_path: Path) -> None:
    """TLS and SASL settings reach the client under its own names, the password in the clear only there."""
    settings = KafkaSettings(
        brokers="a:1,b:2",
        tls=True,
        ca_file=tmp_path / "ca.pem",
        sasl_mechanism="SCRAM-SHA-512",
        username="u",
        password=SecretStr("geheim"),
    )
    config = librdkafka(settings, "edge")
    wanted = {
        "bootstrap.servers": "a:1,b:2",
        "client.id": "edge",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(tmp_path / "ca.pem"),
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "geheim",
    }
    assert wanted.items() <= config.items()
    assert "geheim" not in repr(settings)
    assert librdkafka(KafkaSettings(brokers="a:1"))["security.protocol"] == "PLAINTEXT"


@pytest.mark.parametrize(
    "wrong",
    [
        {"brokers": ""},
        {"brokers": "host"},
        {"brokers": "host:0"},
        {"brokers": "host:99999"},
        {"brokers": "a:1", "brokerz": "b:1"},
        {"brokers": "a:1", "sasl_mechanism": "PLAIN", "username": "u"},
        {"brokers": "a:1", "sasl_mechanism": "GSSAPI", "password": "x"},
        {"brokers": "a:1", "ca_file": "/ca.pem"},
        {"brokers": "a:1", "tls": True, "key_file": "/k.pem"},
        {"brokers": "a:1", "request_timeout_s": 0},
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, object]) -> None:
    """Half a login, a broker without a port, an unknown name: refused at the door."""
    with pytest.raises(ValidationError):
        KafkaSettings.model_validate(wrong)


def test_tls_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A missing or foreign file is a bad setting that names it."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("missing.pem", "ca.pem"):
        settings = KafkaSettings(brokers="a:1", tls=True, ca_file=tmp_path / name)
        with pytest.raises(BadSetting, match=name):
            settings.tls_context()


def test_addresses_are_parsed() -> None:
    """Spaces, a trailing comma and IPv6 are understood."""
    assert KafkaSettings(brokers=" a:1, [::1]:2 ,").addresses() == [("a", 1), ("::1", 2)]
