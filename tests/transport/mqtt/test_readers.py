"""Both readers, both protocols, every transport: the same promises, at a different cost."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import paho.mqtt.client as paho
import pytest
import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from headwater.contract.errors import BadSetting, Refused, Unreachable
from headwater.transport.mqtt.client import BulkClient, StockClient, reader_of
from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.packets import DUP
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.source import Subscriber
from tests.proxy import Proxy
from tests.transport.mqtt.certificates import Authority, Certificate
from tests.transport.mqtt.conftest import free_port, start_mosquitto
from tests.transport.mqtt.wire import connection, numbers, publish, take

BY_PAHO = "messages are read by paho, at ten times the cost"


class Ports(NamedTuple):
    """Listeners of one Mosquitto."""

    plain: int
    tls: int
    mutual: int


@pytest.fixture(scope="module")
def ports(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, server_certificate: Certificate
) -> Iterator[Ports]:
    """One Mosquitto for plain TCP, for TLS, and for TLS with client certificates."""
    found = Ports(free_port(), free_port(), free_port())
    own = f"certfile {server_certificate.path}\nkeyfile {server_certificate.key}"
    lines = (
        f"allow_anonymous true\nlistener {found.plain} 127.0.0.1\nlistener {found.tls} 127.0.0.1\n{own}\n"
        f"listener {found.mutual} 127.0.0.1\n{own}\ncafile {authority.path}\nrequire_certificate true"
    )
    process = start_mosquitto(tmp_path_factory.mktemp("mosquitto"), lines, found.mutual)
    yield found
    process.kill()
    process.wait()


async def relay(client: ServerConnection, port: int) -> None:
    """Carry between a WebSocket and a TCP connection, whatever frames the bytes come in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def down() -> None:
        while data := await reader.read(3000):
            await client.send(data)
        await client.close()

    carrying = asyncio.create_task(down())
    try:
        async for data in client:
            writer.write(data if isinstance(data, bytes) else data.encode())
    except ConnectionClosed:
        pass  # cut by a test
    finally:
        writer.close()
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)


Wire = Literal["plain", "tls", "mutual", "websockets"]


@pytest.fixture(
    params=[
        (reader, protocol, wire)
        for reader in ("bulk", "stock")
        for protocol in ("5", "3.1.1")
        for wire in ("plain", "tls", "mutual", "websockets")
        if (reader, wire) != ("stock", "websockets")  # the same as bulk: asserted below
    ],
    ids="-".join,
)
async def settings(
    request: pytest.FixtureRequest, ports: Ports, authority: Authority, client_certificate: Certificate
) -> AsyncIterator[MqttSettings]:
    """Each wire once."""
    reader, protocol, wire = request.param
    port = ports.plain if wire == "websockets" else getattr(ports, wire)
    made: dict[str, object] = {"port": port, "reader": reader, "protocol": protocol}
    if wire in ("tls", "mutual"):
        made |= {"tls": True, "ca_file": authority.path}
    if wire == "mutual":
        made |= {"cert_file": client_certificate.path, "key_file": client_certificate.key}
    async with AsyncExitStack() as stack:
        if wire == "websockets":
            server = await stack.enter_async_context(
                serve(lambda client: relay(client, port), "127.0.0.1", 0, subprotocols=[Subprotocol("mqtt")])
            )
            made |= {"port": next(iter(server.sockets)).getsockname()[1], "transport": "websockets"}
        yield MqttSettings(**made)  # type: ignore[arg-type]  # of the types that the fields have


async def test_what_is_not_acknowledged_comes_again(settings: MqttSettings, unique: str) -> None:
    """In its order, with DUP = 1 and the same packet ids; what the broker took as acknowledged does not."""
    with structlog.testing.capture_logs() as logs:
        async with Subscriber(settings, unique, [f"{unique}/#"]) as source:
            await source.subscribed.wait()
            assert not (await connection(source)).session_present
            await publish(settings, f"{unique}/a", 600)
            before = await take(source, 600)
            source.acknowledge(250, source.epoch)
            source.acknowledge(150, source.epoch)

        async with Subscriber(settings, unique, [f"{unique}/#"]) as source:
            assert (await connection(source)).session_present
            again = await take(source, 200)
            while again[-1][3] != b"599":
                again += await take(source, 1)

    assert numbers(before) == list(range(600))
    # Mosquitto reads a packet of each socket in turn: it may turn to the new connection before it has read the old out.
    assert 200 <= len(again) < 600
    assert [(first & ~DUP, *rest) for first, *rest in again] == before[-len(again) :]
    assert all(m[0] & DUP for m in again)
    assert not any(m[0] & DUP for m in before)
    by_paho = settings.reader == "stock" or settings.transport == "websockets"
    assert any(each["event"] == BY_PAHO for each in logs) == by_paho, "the bulk reader serves whatever it can"


async def test_acknowledgements_of_a_lost_connection_go_nowhere(settings: MqttSettings, unique: str) -> None:
    """After a cut the packet ids may mean other messages; the epoch keeps them apart. Late ones of its own count."""
    async with Proxy(("127.0.0.1", settings.port)) as proxy:
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
            await publish(settings, f"{unique}/a", 5, first=5)
            await take(source, 5)
            source.acknowledge(3, second.epoch)  # late: others have come since
            await publish(settings, f"{unique}/b", 1)  # the acknowledgements before it have arrived
            await take(source, 1)
            proxy.cut()
            third = await connection(source)
            assert numbers(await take(source, 8)) == [3, 4, 5, 6, 7, 8, 9, 0]
            source.acknowledge(8, third.epoch)


async def test_a_client_without_its_certificate_is_not_let_in(ports: Ports, authority: Authority) -> None:
    """Where the broker demands one."""
    settings = MqttSettings(port=ports.mutual, tls=True, ca_file=authority.path)
    with pytest.raises((Refused, Unreachable)) as refused:
        await Connection.open(settings, "nobody", Listener())
    assert "MQTT broker 127.0.0.1" in str(refused.value)
    assert "client certificate" in refused.value.hint
    assert "set cert_file and key_file" in refused.value.hint


async def test_a_certificate_that_the_broker_does_not_trust_is_named(
    ports: Ports, authority: Authority, tmp_path: Path
) -> None:
    """The address is right: what is to be looked at is the client's certificate."""
    other = Authority(tmp_path, "other").issue("client")
    settings = MqttSettings(
        port=ports.mutual, tls=True, ca_file=authority.path, cert_file=other.path, key_file=other.key
    )
    with pytest.raises(Unreachable) as refused:
        await Connection.open(settings, "nobody", Listener())
    assert "cert_file" in refused.value.hint


def test_an_unknown_paho_is_read_through_its_public_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning says why; the default on a known one is the bulk reader."""
    assert reader_of(MqttSettings()) is BulkClient
    assert reader_of(MqttSettings(tls=True)) is BulkClient
    assert reader_of(MqttSettings(reader="stock")) is StockClient
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.setattr(importlib.metadata, "version", lambda _: "2.9.0")
        assert reader_of(MqttSettings()) is StockClient
    assert "2.9.0 is not one of" in logs[0]["why"]
    with monkeypatch.context() as patched, structlog.testing.capture_logs() as logs:
        patched.delattr(paho.Client, "_packet_queue")
        assert reader_of(MqttSettings()) is StockClient
    assert "has no _packet_queue" in logs[0]["why"]
    monkeypatch.delattr(paho.Client, "_create_socket")
    with pytest.raises(BadSetting, match="has no _create_socket"):
        reader_of(MqttSettings())


async def test_an_unknown_paho_delivers_all_the_same(
    monkeypatch: pytest.MonkeyPatch, ports: Ports, unique: str
) -> None:
    """Without the private methods that the bulk reader lives on."""
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "3.0.0")
    settings = MqttSettings(port=ports.plain)
    async with Subscriber(settings, unique, [f"{unique}/#"]) as source:
        await source.subscribed.wait()
        await publish(settings, f"{unique}/a", 100)
        assert numbers(await take(source, 100)) == list(range(100))
        source.acknowledge(100, source.epoch)
