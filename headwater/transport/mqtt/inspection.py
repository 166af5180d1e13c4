"""What an MQTT broker tells of itself, and how far it sends ahead of acknowledgements: found by trying.

Every connection here has a client id of its own and a session that ends with it: the bridge's is never touched.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from headwater.contract.errors import HeadwaterError, Refused
from headwater.transport.mqtt.connection import Connection
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.publisher import Publisher
from headwater.transport.mqtt.settings import MqttSettings

VERSION_TOPIC = "$SYS/broker/version"  # Mosquitto's, and of others that follow it; retained
_QUIET_S = 0.5  # nothing more came for so long: the window is full

Protocol = Literal["5", "3.1.1"]


@dataclass(frozen=True)
class Welcome:
    """What a broker says at the door. `version` is None where it is not told, `packet_bytes` where it has no bound."""

    version: str | None
    packet_bytes: int | None


@dataclass(frozen=True)
class Window:
    """Of `sent` messages `arrived` came without one acknowledgement; a PUBLISH is acknowledged in `round_trip_s`."""

    sent: int
    arrived: int
    round_trip_s: float


class _Inbox(Listener):
    def __init__(self) -> None:
        self.messages: list[Publish] = []
        self.news = asyncio.Event()

    def received(self, messages: list[Publish]) -> None:
        self.messages += messages
        self.news.set()

    async def more(self, timeout_s: float) -> bool:
        """Wait for messages that nobody has waited for yet."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.news.wait()
        except TimeoutError:
            return False
        self.news.clear()
        return True


async def ask_broker(settings: MqttSettings, client_id: str, *, patience_s: float = 2.0) -> Welcome:
    """Read what the broker announces; its version is waited for at most `patience_s`. Raises as `Connection.open`."""
    inbox = _Inbox()
    connection = await Connection.open(settings, client_id, inbox, clean=True)
    try:
        try:
            await connection.subscribe([VERSION_TOPIC])
        except Refused:  # its access list hides it
            return Welcome(None, connection.packet_bytes)
        await inbox.more(patience_s)
        told = inbox.messages[0][3].decode(errors="replace")[:80] if inbox.messages else None
        return Welcome(told, connection.packet_bytes)
    finally:
        await connection.close()


async def accepted_protocols(settings: MqttSettings, client_id: str, *, patience_s: float = 3.0) -> list[Protocol]:
    """The versions of MQTT in which the broker takes a connection."""
    found: list[Protocol] = []
    versions: tuple[Protocol, ...] = ("5", "3.1.1")
    for version in versions:
        other = settings.model_copy(update={"protocol": version, "connect_timeout_s": patience_s})
        try:
            connection = await Connection.open(other, client_id, Listener(), clean=True)
        except HeadwaterError:
            continue
        await connection.close()
        found.append(version)
    return found


async def measure_window(settings: MqttSettings, client_id: str, topic: str, *, send: int = 64) -> Window:
    """Publish `send` messages at QoS 1 on `topic` and count those that arrive while none is acknowledged.

    Raises as `Connection.open` and `Connection.subscribe`; the caller bounds the time.
    """
    inbox = _Inbox()
    connection = await Connection.open(settings, client_id, inbox, clean=True)
    try:
        await connection.subscribe([topic])
        async with Publisher(settings, f"{client_id}-p") as publisher:
            await publisher.publish(topic, b"0")
            await publisher.flush()
            began = time.monotonic()
            await publisher.publish(topic, b"1")
            await publisher.flush()
            round_trip_s = time.monotonic() - began
            for number in range(2, send):
                await publisher.publish(topic, b"%d" % number)
            await publisher.flush()
        while len(inbox.messages) < send and await inbox.more(_QUIET_S + 4 * round_trip_s):
            pass
        return Window(send, len(inbox.messages), round_trip_s)
    finally:
        await connection.close()
