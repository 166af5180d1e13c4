"""The MQTT wire against a real Mosquitto: sessions, late acknowledgements, refusals, TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from headwater.app.stack.mqtt import find_mosquitto
from headwater.contract.errors import Refused, Untrusted
from headwater.transport.mqtt.packets import DUP, Publish
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Batch, Subscriber
from tests.proxy import Proxy
from tests.services import Mqtt

pytestmark = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


async def publish(settings: MqttSettings, topic: str, count: int, first: int = 0) -> None:
    async with Publisher(settings, "publisher-" + topic.replace("/", "-")) as publisher:
        for number in range(first, first + count):
            await publisher.publish(topic, b"%d" % number)
        await publisher.flush()


async def take(source: Subscriber, count: int) -> list[Publish]:
    """The next `count` messages, which come on one connection."""
    found: list[Publish] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            batch = await source.read()
            found += batch.messages
    return found


async def read_on(settings: MqttSettings, client_id: str) -> None:
    """Read until something is raised."""
    async with Subscriber(settings, client_id, ["a/#"]) as source, asyncio.timeout(15):
        while True:
            await source.read()


async def connection(source: Subscriber) -> Batch:
    """The beginning of the next connection."""
    async with asyncio.timeout(10):
        batch = await source.read()
    assert not batch.messages
    return batch


@pytest.fixture
def settings(mosquitto: Mqtt, protocol: str) -> MqttSettings:
    return MqttSettings(port=mosquitto.port, protocol=protocol)  # type: ignore[arg-type]  # one of two literals


async def test_what_is_not_acknowledged_comes_again(settings: MqttSettings, unique: str) -> None:
    """In its order, with DUP = 1 and the same packet ids; what was acknowledged does not."""
    async with Subscriber(settings, unique, [f"{unique}/#"]) as source:
        await source.subscribed.wait()
        assert not (await connection(source)).session_present
        await publish(settings, f"{unique}/a", 10)
        before = await take(source, 10)
        source.acknowledge(4, source.epoch)

    async with Subscriber(settings, unique, [f"{unique}/#"]) as source:
        assert (await connection(source)).session_present
        again = await take(source, 6)

    assert [m[3] for m in before] == [b"%d" % n for n in range(10)]
    assert [(first & ~DUP, *rest) for first, *rest in again] == before[4:]
    assert all(m[0] & DUP for m in again)
    assert not any(m[0] & DUP for m in before)


async def test_acknowledgements_of_a_lost_connection_go_nowhere(
    settings: MqttSettings, mosquitto: Mqtt, unique: str
) -> None:
    """After a cut the packet ids may mean other messages; the epoch keeps them apart."""
    async with Proxy((mosquitto.host, mosquitto.port)) as proxy:
        through = settings.model_copy(update={"port": proxy.port})
        async with Subscriber(through, unique, [f"{unique}/#"]) as source:
            await source.subscribed.wait()
            first = await connection(source)
            await publish(settings, f"{unique}/a", 5)
            await take(source, 5)
            proxy.cut()
            second = await connection(source)
            assert (second.epoch, second.session_present) == (first.epoch + 1, True)
            await take(source, 5)
            source.acknowledge(5, first.epoch)
            proxy.cut()
            third = await connection(source)
            assert len(await take(source, 5)) == 5
            source.acknowledge(5, third.epoch)


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


@pytest.fixture
def strict(tmp_path: Path, protocol: str, mosquitto: Mqtt) -> Iterator[Callable[[str], MqttSettings]]:
    """Starts a Mosquitto with lines of its own in the configuration."""
    running = []

    def start(lines: str) -> MqttSettings:
        program = find_mosquitto()
        assert program is not None
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        user = "user root\n" if os.geteuid() == 0 else ""
        (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\n{user}{lines}\n")
        process = subprocess.Popen(
            [program, "-c", str(tmp_path / "conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        running.append(process)
        return MqttSettings(port=port, protocol=protocol)  # type: ignore[arg-type]  # one of two literals

    yield start
    for process in running:
        process.kill()
        process.wait()


async def test_a_refused_login_is_final(strict: Callable[[str], MqttSettings], unique: str) -> None:
    """It is not tried again and again; the message says what to check."""
    settings = strict("allow_anonymous false")
    with pytest.raises(Refused, match="refuses the connection") as refused:
        await read_on(settings, unique)
    assert "username" in refused.value.hint
    with pytest.raises(Refused):
        await publish(settings, "a", 1)


async def test_a_subscription_that_is_not_granted_is_refused(
    strict: Callable[[str], MqttSettings], unique: str
) -> None:
    """A SUBACK is read, not taken for granted: at QoS 0 nothing could be promised."""
    settings = strict("allow_anonymous true\nmax_qos 0")
    with pytest.raises(Refused, match="does not grant QoS 1 on a/#"):
        await read_on(settings, unique)


async def test_tls_trusts_only_its_authority(
    strict: Callable[[str], MqttSettings], unique: str, tmp_path: Path
) -> None:
    """With the right authority messages pass; with another one the connection is refused for good."""
    authority = certificate(tmp_path, "right")
    other = certificate(tmp_path, "wrong")
    plain = strict(f"allow_anonymous true\ncertfile {authority}\nkeyfile {authority.with_suffix('.key')}")
    settings = plain.model_copy(update={"tls": True, "ca_file": authority})

    async with Subscriber(settings, unique, [f"{unique}/#"]) as source, asyncio.timeout(15):
        await source.subscribed.wait()
        await publish(settings, f"{unique}/a", 3)
        assert len(await take(source, 3)) == 3
        source.acknowledge(3, source.epoch)

    with pytest.raises(Untrusted, match="not trusted"):
        await publish(settings.model_copy(update={"ca_file": other}), "a", 1)


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.fromtimestamp(time.time(), dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.mark.parametrize(
    "wrong", [{"ca_file": "x"}, {"password": "x"}, {"receive_maximum": 0}, {"port": 0}, {"tls": True, "key_file": "x"}]
)
def test_settings_without_sense_are_refused(protocol: str, wrong: dict[str, object]) -> None:
    """Before a connection is tried."""
    with pytest.raises(ValidationError):
        MqttSettings(protocol=protocol, **wrong)  # type: ignore[arg-type]  # wrong on purpose
