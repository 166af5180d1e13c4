"""One MQTT connection, from its CONNECT to its end, driven by asyncio without threads. The only user of paho-mqtt.

A connection is never reused: packet ids mean nothing beyond it, and an acknowledgement that arrives late for a lost
one has nowhere to go. paho keeps the protocol; the socket is opened here, because paho would block while it connects.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import MQTTException, SubscribeOptions

from headwater.contract.errors import BadInput, HeadwaterError, Refused, Unreachable
from headwater.transport.dialling import dialling, unreachable
from headwater.transport.mqtt.dial import dial
from headwater.transport.mqtt.settings import MqttSettings

# MQTT 5, 3.2.2.2: unsupported version, bad client id, bad password, not authorised, banned, bad authentication method
_FINAL_REASONS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
_PACKETS_A_TURN = 256  # then others on the event loop have their turn
_PUBACK = 0x40
_NOT_UTF8 = "\ufffd"
_CLOSE_S = 2.0


class Message(NamedTuple):
    """A received PUBLISH. `packet_id` is 0 at QoS 0; `dup` says that the broker sends it again."""

    topic: str
    payload: bytes
    packet_id: int
    dup: bool
    qos: int


class Listener:
    """What a connection tells; each call comes from the event loop and must not wait."""

    def opened(self, connection: Connection) -> None:
        """Take note that the broker has accepted the connection; no message came before."""

    def received(self, messages: list[Message]) -> None:
        """Take what one read brought, in the order of receipt."""

    def published(self, packet_id: int) -> None:
        """Take note that the broker has acknowledged what `publish` sent."""


class _Paho(paho.Client):
    """paho's client on a socket that is connected already, reading and acknowledging many packets at a time."""

    prepared: Any = None

    def _create_socket(self) -> Any:
        return self.prepared

    def read_available(self, most: int) -> bool:
        """Handle up to `most` packets; True when the socket has been emptied."""
        for _ in range(most):
            if self._sock is None:
                return True
            code = self._packet_read()
            if code == paho.MQTT_ERR_AGAIN:
                return True
            if code:
                self._loop_rc_handle(code)
                return True
        return False

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Queue the PUBACKs of all as one write; the short form is valid in 3.1.1 and 5 (MQTT 5, 3.4.2.1)."""
        packets = b"".join([b"\x40\x02" + number.to_bytes(2, "big") for number in packet_ids])
        self._packet_queue(_PUBACK, packets, 0, 1)

    def drop(self) -> None:
        """Close the socket without a DISCONNECT."""
        self._sock_close()


class Connection:
    """Made by `open`; `listener` is told what comes in."""

    def __init__(self, settings: MqttSettings, client_id: str, listener: Listener, *, clean: bool) -> None:
        self.session_present = False
        self.receive_maximum = 65535  # of the broker: how many we may publish ahead
        self.packet_bytes: int | None = None  # of the broker: the largest packet that it takes, where it says so
        self._listener = listener
        self._settings = settings
        self._clean = clean
        self._loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[None] = self._loop.create_future()
        self._is_open = False
        self._granted: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._messages: list[Message] = []
        self._timer: asyncio.TimerHandle | None = None
        self._paho = self._client(client_id)

    @classmethod
    async def open(
        cls, settings: MqttSettings, client_id: str, listener: Listener, *, clean: bool = False
    ) -> Connection:
        """Connect and log in within `connect_timeout_s`; messages of a kept session may arrive at once.

        Unreachable: no answer, or the broker is not available. Refused: it does not want us. Untrusted: certificate.
        """
        connection = cls(settings, client_id, listener, clean=clean)
        try:
            async with dialling(f"MQTT broker {settings.where}", settings.connect_timeout_s):
                connection._paho.prepared = await dial(settings)
                connection._send_connect()
                await connection._welcome
        finally:
            if not connection._is_open:
                connection._end("was not opened")
        return connection

    async def subscribe(self, topic_filter: str) -> None:
        """Subscribe at QoS 1 and check what was granted; retained messages come with a new subscription only.

        Refused: the broker does not grant QoS 1. Unreachable: it does not answer within `connect_timeout_s`.
        """
        if self._settings.protocol == "5":
            only_new = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
            self._paho.subscribe(topic_filter, options=only_new)
        else:
            self._paho.subscribe(topic_filter, 1)
        await asyncio.wait(
            (self._granted, self._ended),
            timeout=self._settings.connect_timeout_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not self._granted.done():
            raise self._unreachable(f"did not answer SUBSCRIBE {topic_filter}")
        granted = self._granted.result()[0]
        if granted.value not in (1, 2):
            raise Refused(
                f"MQTT broker {self._settings.where} does not grant QoS 1 on {topic_filter}: {granted}",
                hint="allow this user to subscribe to it, at QoS 1",
            )

    async def ended(self) -> str:
        """Wait for the end of the connection; the answer says why it ended."""
        return await asyncio.shield(self._ended)

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Send PUBACKs in this order, in one write; nothing once the connection has ended."""
        if packet_ids and not self._ended.done():
            self._paho.acknowledge(packet_ids)

    def publish(self, topic: str, payload: bytes) -> int:
        """Send at QoS 1; the packet id, which `published` will name. BadInput: topic or size."""
        try:
            return self._paho.publish(topic, payload, qos=1).mid
        except ValueError as error:
            raise BadInput(f"{len(payload)} bytes cannot be published on {topic!r}: {error}") from error

    async def close(self) -> None:
        """Send what is queued and DISCONNECT; the broker keeps the session for as long as was agreed."""
        if self._is_open:
            self._paho.disconnect()
            await asyncio.wait([self._ended], timeout=_CLOSE_S)
        self._end("was closed by us")

    # what paho calls

    def _client(self, client_id: str) -> _Paho:
        v5 = self._settings.protocol == "5"
        client = _Paho(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else self._clean,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.get_secret_value() if password else None)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = lambda _c, _u, mid, _code, _p: self._listener.published(mid)
        loop = self._loop
        # Later: paho holds a lock while it tells us, and takes it again to close the socket.
        client.on_disconnect = lambda _c, _u, _flags, reason, _p: _forget(loop.call_soon, self._end, str(reason))
        client.on_socket_open = lambda _c, _u, sock: loop.add_reader(sock, self._readable)
        client.on_socket_close = lambda _c, _u, sock: _forget(loop.remove_reader, sock)
        client.on_socket_register_write = lambda _c, _u, sock: loop.add_writer(sock, self._writable)
        client.on_socket_unregister_write = lambda _c, _u, sock: _forget(loop.remove_writer, sock)
        return client

    def _send_connect(self) -> None:
        settings = self._settings
        if settings.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.ReceiveMaximum = settings.receive_maximum
            if not self._clean:
                properties.SessionExpiryInterval = settings.session_expiry_s
            self._paho.connect(
                settings.host, settings.port, settings.keepalive_s, clean_start=self._clean, properties=properties
            )
        else:
            self._paho.connect(settings.host, settings.port, settings.keepalive_s)
        self._tick()

    def _on_connect(self, _c: Any, _u: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any) -> None:
        if self._welcome.done():
            return
        if reason.is_failure:
            self._welcome.set_exception(self._refusal(reason))
            return
        self.session_present = flags.session_present
        self.receive_maximum = getattr(properties, "ReceiveMaximum", 65535)
        self.packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self._is_open = True
        self._welcome.set_result(None)
        self._listener.opened(self)

    def _refusal(self, reason: ReasonCode) -> HeadwaterError:
        if reason.value not in _FINAL_REASONS:
            return self._unreachable(f"answers: {reason}")
        return Refused(
            f"MQTT broker {self._settings.where} refuses the connection: {reason}",
            hint="check username, password, client_id and protocol, and the broker's access list",
        )

    def _on_subscribe(self, _c: Any, _u: Any, _mid: int, codes: Any, _p: Any) -> None:
        if not self._granted.done():
            self._granted.set_result(codes)

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = _NOT_UTF8
        self._messages.append(Message(topic, bytes(message.payload), message.mid, message.dup, message.qos))

    def _readable(self) -> None:
        try:
            emptied = self._paho.read_available(_PACKETS_A_TURN)
        except (struct.error, ValueError, LookupError, MQTTException) as error:
            self._end(f"sends no MQTT: {error}")
            return
        if self._messages:
            messages, self._messages = self._messages, []
            self._listener.received(messages)
        if not emptied:  # TLS may hold decrypted bytes that no selector sees
            self._loop.call_soon(self._readable)

    def _writable(self) -> None:
        self._paho.loop_write()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(1.0, self._tick)
        self._paho.loop_misc()

    def _end(self, why: str) -> None:
        self._is_open = False
        if not self._ended.done():
            self._ended.set_result(why)
        if not self._welcome.done():
            self._welcome.set_exception(self._unreachable(f"ended the connection: {why}"))
            self._welcome.exception()  # a caller that timed out does not ask for it
        if self._timer is not None:
            self._timer.cancel()
        self._paho.drop()

    def _unreachable(self, what: str) -> Unreachable:
        return unreachable(f"MQTT broker {self._settings.where}", what)


def _forget(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)
