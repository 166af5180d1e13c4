"""The doctor finds what is wrong and says what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from headwater.app.doctor.mqtt import check_mqtt
from headwater.app.stack.amqtt_server import __name__ as amqtt_module
from headwater.app.stack.state import S3Address
from headwater.transport.mqtt.settings import MqttSettings
from tests.app.doctoring import await_port, doctor, free_port, make_trust
from tests.services import Mqtt


def test_a_healthy_edge_is_good_in_every_check(tmp_path: Path, kafka: str, mosquitto: Mqtt, s3: S3Address) -> None:
    """Kafka is written and read, the session survives an absence, the store answers; releases and clocks are told."""
    code, found, _ = doctor(
        tmp_path, "edge", HEADWATER_EDGE__SITE="lyon", HEADWATER_EDGE__KAFKA__BROKERS=kafka,
        HEADWATER_EDGE__MQTT__PORT=str(mosquitto.port), HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT=s3.endpoint,
        HEADWATER_EDGE__UPDATER__OBJECTS__BUCKET=s3.bucket, HEADWATER_EDGE__UPDATER__OBJECTS__ACCESS_KEY=s3.access_key,
        HEADWATER_EDGE__UPDATER__OBJECTS__SECRET_KEY=s3.secret_key,
        HEADWATER_EDGE__UPDATER__ROOT_FILE=str(make_trust(tmp_path)),
    )  # fmt: skip

    assert code == 0
    assert found["edge.kafka write and read"]["state"] == "good"
    assert found["edge.mqtt"]["state"] == "good"
    assert found["edge.updater.objects"]["state"] == "warning"
    assert "fleet keys init" in found["edge.updater.objects"]["fix"]
    assert s3.secret_key not in json.dumps(found)
    bad = {name: finding for name, finding in found.items() if finding["state"] != "good"}
    assert set(bad) == {"edge.updater.objects", "edge.bridge process"}  # none was started
    assert len(found) >= 20
    assert {finding["exit_code"] for finding in found.values()} == {0}
    for name, release in {
        "python": metadata.version("headwater"),
        "edge.kafka version": "Kafka 4.3, metadata.version 4.3-IV0 (level 30)",
        "edge.mqtt version": f"{mosquitto.service.version.lower().replace('mosquitto ', 'mosquitto version ')}; takes "
        "MQTT 5 and 3.1.1",
        "edge.updater.objects version": "SeaweedFS",
    }.items():
        assert release in found[name]["says"]
    for name in ("edge.kafka clock", "edge.updater.objects clock"):
        assert "agrees" in found[name]["says"]


def test_a_publisher_is_checked_for_conditional_writes(tmp_path: Path, kafka: str, s3: S3Address) -> None:
    """Racing writers are tried on the real store before anybody relies on it."""
    code, found, _ = doctor(
        tmp_path, "fleet", HEADWATER_FLEET__KAFKA__BROKERS=kafka, HEADWATER_FLEET__OBJECTS__ENDPOINT=s3.endpoint,
        HEADWATER_FLEET__OBJECTS__BUCKET=s3.bucket, HEADWATER_FLEET__OBJECTS__ACCESS_KEY=s3.access_key,
        HEADWATER_FLEET__OBJECTS__SECRET_KEY=s3.secret_key, HEADWATER_FLEET__KEYS=str(make_trust(tmp_path).parent),
    )  # fmt: skip

    assert code == 0
    assert found["fleet.objects conditional writes"]["state"] == "good"
    assert found["fleet.objects write"]["state"] == "good"
    assert "fleet.kafka fencing" not in found, "nothing there is fenced by name"


def test_services_that_are_away_are_named_with_what_to_do(tmp_path: Path) -> None:
    """Nothing listens: exit code 5, a sentence for each service, no traceback."""
    port = str(free_port())
    code, found, errors = doctor(
        tmp_path, "edge", HEADWATER_EDGE__SITE="lyon", HEADWATER_EDGE__KAFKA__BROKERS=f"127.0.0.1:{port}",
        HEADWATER_EDGE__KAFKA__REQUEST_TIMEOUT_S="2", HEADWATER_EDGE__MQTT__PORT=port,
        HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT=f"http://127.0.0.1:{port}",
    )  # fmt: skip

    assert code == 5
    assert {found[name]["state"] for name in ("edge.kafka", "edge.mqtt", "edge.updater.objects")} == {"bad"}
    assert all(found[name]["fix"] for name in ("edge.kafka", "edge.mqtt", "edge.updater.objects"))
    assert errors == "", "no line of a log beside the findings"


def test_nothing_to_ask_is_said(tmp_path: Path) -> None:
    """Without settings all is well with the installation, and it is said that this is all."""
    code, found, errors = doctor(tmp_path)

    assert (code, errors) == (0, "")
    assert found["settings"]["state"] == "warning"
    assert found["settings"]["says"].startswith("nothing is configured")


def test_a_broker_that_forgets_sessions_is_a_warning(tmp_path: Path, kafka: str) -> None:
    """The stand-in broker loses what an absent session is owed, and the doctor says so."""
    port = free_port()
    broker = subprocess.Popen([sys.executable, "-m", amqtt_module, str(port)], stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        code, found, _ = doctor(
            tmp_path, "edge", HEADWATER_EDGE__SITE="lyon", HEADWATER_EDGE__KAFKA__BROKERS=kafka,
            HEADWATER_EDGE__MQTT__PORT=str(port), HEADWATER_EDGE__MQTT__PROTOCOL="3.1.1",
            HEADWATER_EDGE__UPDATER__OBJECTS__ENDPOINT=f"file://{tmp_path}",
            HEADWATER_EDGE__UPDATER__ROOT_FILE=str(make_trust(tmp_path)),
        )  # fmt: skip
    finally:
        broker.kill()
        broker.wait()

    assert code == 0
    assert found["edge.mqtt"]["state"] == "warning"
    assert "Mosquitto" in found["edge.mqtt"]["fix"]


def test_a_broker_of_another_protocol_says_which_to_set() -> None:
    """The stand-in broker does not speak MQTT 5: the fix is the setting, not the address."""
    port = free_port()
    broker = subprocess.Popen([sys.executable, "-m", amqtt_module, str(port)], stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        (found, *_) = check_mqtt("mqtt", MqttSettings(port=port, connect_timeout_s=3))
    finally:
        broker.kill()
        broker.wait()

    assert found.state == "bad"
    assert found.fix == "set protocol to 3.1.1"


@pytest.mark.parametrize("arguments", [[], ["edge"]])
def test_settings_are_checked_before_services(tmp_path: Path, arguments: list[str]) -> None:
    """A typing error in a setting is the finding, with the right name beside it."""
    code, found, errors = doctor(tmp_path, *arguments, HEADWATER_EDGE__SIGHT="lyon")

    assert code == 2
    assert "HEADWATER_EDGE__SITE" in (found["edge"]["fix"] if found else errors)
