"""What the doctor finds in a Kafka cluster that would break a promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from bench.brokers import Extended
from headwater.app.doctor.clock import clock
from headwater.app.doctor.kafka import check_kafka
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import KafkaSettings
from tests.app.doctoring import Findings, doctor
from tests.services import Mqtt

Start = Callable[[str], str]


@pytest.fixture
def start_kafka(service_runner: Runner, kafka_tools: KafkaTools, unique: str) -> Iterator[Start]:
    """Starts one real cluster with further lines of configuration; its address."""

    def start(more: str) -> str:
        service = Extended(KafkaService(unique, lambda: kafka_tools), more, ("away",))
        service_runner.start(service)
        return service_runner.address(service)

    yield start
    service_runner.stop(unique, grace_s=2.0)


def allow_acl(kafka: str, operation: AclOperation, kind: AclPermissionType) -> None:
    """A rule for everybody about the doctor's topic; with any rule, what none allows is denied there."""
    rule = AclBinding(
        ResourceType.TOPIC, "headwater-doctor", ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, kind
    )
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.create_acls([rule]).values():
        future.result(10)


def edge_doctor(folder: Path, kafka: str, mosquitto: Mqtt) -> tuple[int, Findings]:
    code, found, _ = doctor(
        folder, "edge", HEADWATER_EDGE__SITE="lyon", HEADWATER_EDGE__KAFKA__BROKERS=kafka,
        HEADWATER_EDGE__KAFKA__REQUEST_TIMEOUT_S="5", HEADWATER_EDGE__MQTT__PORT=str(mosquitto.port),
        HEADWATER_EDGE__REPLICATION_FACTOR="3", HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT=f"file://{folder}",
    )  # fmt: skip
    return code, found


def test_a_cluster_without_epochs_and_rights_is_told_apart(tmp_path: Path, start_kafka: Start, mosquitto: Mqtt) -> None:
    """Kafka's default of 3 transaction log copies stops a single broker; a missing right names what to allow."""
    kafka = start_kafka(
        "transaction.state.log.replication.factor=3\n"
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n"
        "allow.everyone.if.no.acl.found=true\n"
        "super.users=User:nobody\n"
    )
    allow_acl(kafka, AclOperation.WRITE, AclPermissionType.DENY)

    code, found = edge_doctor(tmp_path, kafka, mosquitto)

    assert code != 0
    assert found["edge.kafka fencing"]["state"] == "bad"
    assert "transaction.state.log.replication.factor=1" in found["edge.kafka fencing"]["fix"]
    assert found["edge.kafka write and read"]["state"] == "bad"
    assert "WRITE" in found["edge.kafka write and read"]["fix"]
    assert found["edge.kafka write and read"]["exit_code"] == 3
    assert found["edge.kafka topics"]["state"] == "bad"
    allow_acl(kafka, AclOperation.ALL, AclPermissionType.ALLOW)
    again = {finding.check: finding for finding in check_kafka("k", KafkaSettings(brokers=kafka), fences=False)}
    assert (again["k write and read"].state, again["k write and read"].exit_code) == ("bad", 3)
    assert "WRITE" in again["k write and read"].fix
    assert "set replication_factor to 1" in found["edge.kafka topics"]["fix"]


def test_topics_that_break_promises_are_named_with_the_command(
    tmp_path: Path, start_kafka: Start, mosquitto: Mqtt
) -> None:
    """Small batches, wrong clean-up, too few copies, other partitions; and a topic that hides the broker's clock."""
    kafka = start_kafka("")
    kept = {"cleanup.policy": "compact,delete"}
    ensure_topics(
        KafkaSettings(brokers=kafka),
        [
            TopicSpec("readings", 4, {"max.message.bytes": "100000"}),
            TopicSpec("scores", 3, {"min.insync.replicas": "2"}),
            TopicSpec("alarms", 4, {"cleanup.policy": "compact"}),
            TopicSpec("state", 4, kept),
            TopicSpec("headwater-doctor", 1),
        ],
    )

    code, found = edge_doctor(tmp_path, kafka, mosquitto)

    assert code == 5
    states = {name: found[f"edge.kafka topics {name}"] for name in ("readings", "scores", "alarms", "state")}
    assert [states[name]["state"] for name in states] == ["warning", "bad", "warning", "warning"]
    assert "--entity-name readings --add-config max.message.bytes=1048588" in states["readings"]["fix"]
    assert "every write is refused" in states["scores"]["says"]
    assert "set partitions to 3" in states["scores"]["fix"]
    assert "cleanup.policy=delete" in states["alarms"]["fix"]
    assert "cleanup.policy=compact" in states["state"]["fix"]
    assert found["edge.kafka clock"]["state"] == "warning"
    assert "delete it" in found["edge.kafka clock"]["fix"]


def test_a_target_must_take_what_its_source_has(tmp_path: Path, kafka: str, unique: str) -> None:
    """Whole batches go across: the cloud's limit is compared with the site's, and its topics keep the site's time."""
    site = unique[-20:].strip("-")
    ensure_topics(
        KafkaSettings(brokers=kafka),
        [
            TopicSpec(unique, 1, {"max.message.bytes": "2000000"}),
            TopicSpec(f"{site}.{unique}", 1, {"message.timestamp.type": "LogAppendTime"}),
        ],
    )

    code, found, _ = doctor(
        tmp_path, "replicator", HEADWATER_REPLICATOR__SITE=site, HEADWATER_REPLICATOR__TOPICS=f'["{unique}"]',
        HEADWATER_REPLICATOR__SOURCE__BROKERS=kafka, HEADWATER_REPLICATOR__TARGET__BROKERS=kafka,
    )  # fmt: skip

    assert code == 5
    assert found["replicator.source topics"]["state"] == "good"
    told = found[f"replicator.target topics {site}.{unique}"]
    assert "max.message.bytes=2000000" in told["fix"]
    assert "message.timestamp.type=CreateTime" in told["fix"]


def test_a_broker_that_is_advertised_elsewhere_is_found(tmp_path: Path, start_kafka: Start) -> None:
    """The first contact works and nothing after it: the finding says advertised.listeners."""
    kafka = start_kafka("advertised.listeners=PLAINTEXT://127.0.0.1:{away}\n")

    code, found, _ = doctor(
        tmp_path, "fleet", HEADWATER_FLEET__KAFKA__BROKERS=kafka,
        HEADWATER_FLEET__OBJECTS__ENDPOINT=f"file://{tmp_path}",
    )  # fmt: skip

    assert code == 5
    assert found["fleet.kafka"]["state"] == "good"
    assert found["fleet.kafka brokers"]["state"] == "bad"
    assert "advertised.listeners" in found["fleet.kafka brokers"]["fix"]
    assert "fleet.kafka write and read" not in found


@pytest.mark.parametrize(("skew_s", "state"), [(29, "good"), (-29, "good"), (45, "warning"), (-45, "warning")])
def test_half_a_minute_is_the_bound_of_clocks(skew_s: float, state: str) -> None:
    """Both directions count, and the fix is to set the clocks."""
    finding = clock("kafka clock", skew_s, 1.0, "retention deletes by it")

    assert finding.state == state
    assert state == "good" or "NTP" in finding.fix
