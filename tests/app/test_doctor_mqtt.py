"""What the doctor finds in an MQTT broker that would bound or end the bridge."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.bridge.settings import BridgeSettings
from edge_agent.settings import EdgeSettings
from headwater.app.doctor.finding import Finding
from headwater.app.doctor.mqtt import check_mqtt
from headwater.app.doctor.services import check_wire
from headwater.transport.mqtt.settings import MqttSettings
from tests.app.doctoring import running_mosquitto, write_certificate
from tests.services import Mqtt

SMALL = "max_inflight_messages 5\nmax_packet_size 2000\nsys_interval 0\n"


def checked(settings: MqttSettings) -> dict[str, tuple[str, str, str]]:
    """State, sentence and fix by check."""
    return by_check(check_mqtt("mqtt", settings))


def by_check(findings: list[Finding]) -> dict[str, tuple[str, str, str]]:
    return {finding.check: (finding.state, finding.says, finding.fix) for finding in findings}


def test_a_small_window_is_counted_and_its_rate_named(tmp_path: Path, mosquitto: Mqtt) -> None:
    """Five messages under way bound the rate, on MQTT 3.1.1, where nothing but a trial tells."""
    with running_mosquitto(mosquitto.service.program, tmp_path, SMALL) as port:
        found = checked(MqttSettings(port=port, protocol="3.1.1"))

    state, says, fix = found["mqtt window"]
    assert (state, "max_inflight_messages" in fix, "protocol to 5" in fix) == ("warning", True, True)
    assert says.startswith("at most 5 messages come unacknowledged")
    assert "where Kafka takes 10 ms, the bridge takes in" in says
    assert fix.endswith(', or set edge.bridge.ack_after = "spool"')
    assert "mqtt packet size" not in found, "MQTT 3.1.1 announces none"


def test_with_a_spool_the_disk_bounds_the_rate(tmp_path: Path, mosquitto: Mqtt) -> None:
    """Kafka does not matter there; that the folder is yet to be made does not either, and nothing is left in it."""
    with running_mosquitto(mosquitto.service.program, tmp_path, "max_inflight_messages 1\n") as port:
        before = sorted(tmp_path.iterdir())
        wire = MqttSettings(port=port, protocol="3.1.1")
        edge = EdgeSettings(
            site="lyon", state_dir=tmp_path / "none", mqtt=wire, bridge=BridgeSettings(ack_after="spool")
        )
        state, says, fix = by_check(check_wire("edge", edge, "mqtt", wire))["mqtt window"]

    assert "at most 1 messages come unacknowledged: where a sync of the disk takes" in says
    assert "Kafka" not in says
    assert "ack_after" not in fix
    assert (state, sorted(tmp_path.iterdir())) == ("warning" if fix else "good", before)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_queues_little_is_a_warning(tmp_path: Path, mosquitto: Mqtt, protocol: str) -> None:
    """Mosquitto's default drops from 1000 on."""
    with running_mosquitto(mosquitto.service.program, tmp_path, "") as port:
        settings = MqttSettings.model_validate({"port": port, "protocol": protocol})
        state, says, fix = checked(settings)["mqtt queue"]
    with running_mosquitto(mosquitto.service.program, tmp_path, "max_queued_messages 0\n") as port:
        lifted = checked(settings.model_copy(update={"port": port}))["mqtt queue"]

    assert (state, "max_queued_messages 0" in fix) == ("warning", True)
    assert says.startswith("of 1200 messages for an absent session 1000 came")
    assert lifted[0] == "good"


def test_the_default_window_of_mqtt_3_is_twenty(tmp_path: Path, mosquitto: Mqtt) -> None:
    """Mosquitto's own default; MQTT 5 asks for more and gets it."""
    with running_mosquitto(mosquitto.service.program, tmp_path, "") as port:
        old = checked(MqttSettings(port=port, protocol="3.1.1"))
        new = checked(MqttSettings(port=port))
        narrow = checked(MqttSettings(port=port, receive_maximum=10))

    assert old["mqtt window"][:2] == ("warning", old["mqtt window"][1])
    assert "at most 20 messages" in old["mqtt window"][1]
    assert new["mqtt window"][0] == "good"
    assert new["mqtt window"][1].startswith("all 64 that were tried come unacknowledged, round trip")
    assert "at most 10 messages" in narrow["mqtt window"][1]
    assert "raise receive_maximum" in narrow["mqtt window"][2]


def test_a_small_packet_and_a_hidden_release_are_told(tmp_path: Path, mosquitto: Mqtt) -> None:
    """CONNACK of MQTT 5 has the largest packet; without $SYS the accepted protocols are what is known."""
    with running_mosquitto(mosquitto.service.program, tmp_path, SMALL) as port:
        found = checked(MqttSettings(port=port))

    state, says, fix = found["mqtt packet size"]
    assert (state, "2000" in says, "max_packet_size" in fix) == ("warning", True, True)
    assert found["mqtt version"][0] == "good"
    assert found["mqtt version"][1] == "tells no release ($SYS/broker/version cannot be read); takes MQTT 5 and 3.1.1"


@pytest.mark.parametrize(("days", "state"), [(5, "warning"), (60, "good")])
def test_a_certificate_that_ends_soon_is_a_warning(tmp_path: Path, mosquitto: Mqtt, days: int, state: str) -> None:
    """Two weeks before the end somebody has to renew it."""
    certificate, key = write_certificate(tmp_path, days)
    files = f"certfile {certificate}\nkeyfile {key}\n"
    with running_mosquitto(mosquitto.service.program, tmp_path, files) as port:
        found = checked(MqttSettings(port=port, tls=True, ca_file=certificate))

    assert found["mqtt certificate"][0] == state
    assert "days" in found["mqtt certificate"][1]
    assert state == "good" or "renew" in found["mqtt certificate"][2]


def test_a_certificate_of_a_stranger_is_bad(tmp_path: Path, mosquitto: Mqtt) -> None:
    """Without its authority nothing is checked further, and the fix says what to set."""
    certificate, key = write_certificate(tmp_path, 60)
    files = f"certfile {certificate}\nkeyfile {key}\n"
    with running_mosquitto(mosquitto.service.program, tmp_path, files) as port:
        found = checked(MqttSettings(port=port, tls=True))

    assert "not trusted" in found["mqtt"][1]
    assert found["mqtt"][0] == found["mqtt certificate"][0] == "bad"
    assert "ca_file" in found["mqtt certificate"][2]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"tls": True}, "look at tls"),
        ({"transport": "websockets"}, "look at transport, port and websocket_path"),
    ],
)
def test_another_protocol_than_the_settings_say_is_named(
    tmp_path: Path, mosquitto: Mqtt, wrong: dict[str, object], hint: str
) -> None:
    """TLS or WebSocket to a plain port: the settings to look at, not whether the broker runs."""
    with running_mosquitto(mosquitto.service.program, tmp_path, "") as port:
        found = checked(MqttSettings.model_validate({"port": port, "connect_timeout_s": 3.0, **wrong}))

    assert found["mqtt"][0] == "bad"
    assert hint in found["mqtt"][2]


def test_a_plain_connection_to_a_tls_port_is_told_what_to_look_at(tmp_path: Path, mosquitto: Mqtt) -> None:
    """The broker just ends it."""
    certificate, key = write_certificate(tmp_path, 60)
    files = f"certfile {certificate}\nkeyfile {key}\n"
    with running_mosquitto(mosquitto.service.program, tmp_path, files) as port:
        state, _, fix = checked(MqttSettings(port=port, connect_timeout_s=3.0))["mqtt"]

    assert (state, "look at tls, port and, for MQTT, transport" in fix) == ("bad", True)
