"""The MQTT wire against a real Mosquitto: sessions, late acknowledgements, refusals, TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from headwater.contract.errors import Refused, Untrusted
from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Subscriber
from tests.services import Mqtt
from tests.transport.mqtt.certificates import Authority, Certificate
from tests.transport.mqtt.conftest import Started
from tests.transport.mqtt.wire import publish

pytestmark = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


def settings_of(port: int, protocol: str) -> MqttSettings:
    return MqttSettings(port=port, protocol=protocol)  # type: ignore[arg-type]  # one of two literals


async def read_on(settings: MqttSettings, client_id: str) -> None:
    """Read until something is raised."""
    async with Subscriber(settings, client_id, ["a/#"]) as source, asyncio.timeout(15):
        while True:
            await source.read()


@pytest.fixture
def settings(mosquitto: Mqtt, protocol: str) -> MqttSettings:
    return settings_of(mosquitto.port, protocol)


async def test_a_broker_that_is_away_is_waited_for(
    settings: MqttSettings, private_mosquitto: Mqtt, unique: str
) -> None:
    """Source and publisher connect once it is there; what was published meanwhile is not lost."""
    private_mosquitto.stop()
    there = settings.model_copy(update={"port": private_mosquitto.port})
    async with Subscriber(there, unique, [f"{unique}/#"]) as source:
        publishing = asyncio.create_task(publish(there, f"{unique}/a", 5))
        await asyncio.sleep(0.3)
        assert not source.subscribed.is_set()
        await asyncio.to_thread(private_mosquitto.start)
        async with asyncio.timeout(20):
            await source.subscribed.wait()
            await publishing
            await publish(there, f"{unique}/b", 1)
            found: list[Publish] = []
            while not found or found[-1][1] != f"{unique}/b".encode():
                found += (await source.read()).messages


async def test_a_refused_login_is_final(strict: Started, protocol: str, unique: str) -> None:
    """It is not tried again and again; the message says what to check."""
    settings = settings_of(strict("allow_anonymous false"), protocol)
    with pytest.raises(Refused, match="refuses the connection") as refused:
        await read_on(settings, unique)
    assert "username" in refused.value.hint
    with pytest.raises(Refused):
        await publish(settings, "a", 1)


async def test_a_subscription_that_is_not_granted_is_refused(strict: Started, protocol: str, unique: str) -> None:
    """A SUBACK is read, not taken for granted: at QoS 0 nothing could be promised."""
    settings = settings_of(strict("allow_anonymous true\nmax_qos 0"), protocol)
    with pytest.raises(Refused, match="does not grant QoS 1 on a/#"):
        await read_on(settings, unique)


async def test_tls_trusts_only_its_authority(
    strict: Started,
    protocol: str,
    unique: str,
    tmp_path: Path,
    authority: Authority,
    server_certificate: Certificate,
) -> None:
    """With the right authority messages pass; with another one the connection is refused for good."""
    port = strict(f"allow_anonymous true\ncertfile {server_certificate.path}\nkeyfile {server_certificate.key}")
    settings = settings_of(port, protocol).model_copy(update={"tls": True, "ca_file": authority.path})
    await publish(settings, f"{unique}/a", 3)
    other = Authority(tmp_path, "wrong").path
    with pytest.raises(Untrusted, match="not trusted"):
        await publish(settings.model_copy(update={"ca_file": other}), "a", 1)


@pytest.mark.parametrize(
    "wrong", [{"ca_file": "x"}, {"password": "x"}, {"receive_maximum": 0}, {"port": 0}, {"tls": True, "key_file": "x"}]
)
def test_settings_without_sense_are_refused(protocol: str, wrong: dict[str, object]) -> None:
    """Before a connection is tried."""
    with pytest.raises(ValidationError):
        MqttSettings(protocol=protocol, **wrong)  # type: ignore[arg-type]  # wrong on purpose
