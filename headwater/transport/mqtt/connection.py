"""One MQTT connection, from its CONNECT to its end, driven by asyncio without threads.

A connection is never reused: packet ids mean nothing beyond it, and an acknowledgement that arrives late for a lost
one has nowhere to go. paho keeps the protocol (client.py); the socket is opened here, because paho would block while it
connects.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import MQTTException, SubscribeOptions

from headwater.contract.errors import BadInput, HeadwaterError, Refused, Unreachable
from headwater.transport.dialling import dialling, unreachable
from headwater.transport.mqtt.client import BulkClient, StockClient, connect_properties, reader_of
from headwater.transport.mqtt.dial import dial
from headwater.transport.mqtt.packets import Publish
from headwater.transport.mqtt.settings import MqttSettings

# MQTT 5, 3.2.2.2: unsupported version, bad client id, bad password, not authorised, banned, bad authentication method
_FINAL_REASONS = frozenset({0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C})
_RETAIN = {
    "new": SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
    "always": SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE,
    "never": SubscribeOptions.RETAIN_DO_NOT_SEND,
}
_CLOSE_S = 2.0


class Listener:
    """What a connection tells; each call comes from the event loop and must not wait."""

    def opened(self, connection: Connection) -> None:
        """Take note that the broker has accepted the connection; no message came before."""

    def received(self, messages: list[Publish]) -> None:
        """Take what one read brought, in the order of receipt."""

    def published(self, packet_id: int) -> None:
        """Take note that the broker has acknowledged what `publish` sent."""


class Connection:
    """Made by `open`; `listener` is told what comes in."""

    def __init__(
        self, settings: MqttSettings, client_id: str, listener: Listener, *, clean: bool, gather_s: float
    ) -> None:
        self.session_present = False
        self.receive_maximum = 65535  # of the broker: how many we may publish ahead
        self.packet_bytes: int | None = None  # of the broker: the largest packet that it takes, where it says so
        self._listener = listener
        self._settings = settings
        self._clean = clean
        self._gather_s = gather_s
        self._loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[None] = self._loop.create_future()
        self._is_open = False
        self._granted: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._pinged = 0.0
        self._paho = self._client(client_id)

    @classmethod
    async def open(
        cls,
        settings: MqttSettings,
        client_id: str,
        listener: Listener,
        *,
        clean: bool = False,
        gather_s: float = 0.0,
    ) -> Connection:
        """Connect and log in within `connect_timeout_s`; messages of a kept session may arrive at once.

        After a read nothing is read for `gather_s`, unless more is there than fits one buffer: at low rates it sleeps.
        Unreachable: no answer, or the broker is not available. Refused: it does not want us. Untrusted: certificate.
        """
        connection = cls(settings, client_id, listener, clean=clean, gather_s=gather_s)
        try:
            async with dialling(f"MQTT broker {settings.where}", settings.connect_timeout_s):
                connection._paho.prepared = await dial(settings)
                connection._send_connect()
                await connection._welcome
        finally:
            if not connection._is_open:
                connection._end("was not opened")
        return connection

    async def subscribe(self, filters: Sequence[str], no_longer: Sequence[str] = ()) -> None:
        """Subscribe at the QoS of the settings, check what was granted, and leave the filters `no_longer` wanted.

        Refused: the broker does not grant the QoS. Unreachable: it does not answer within `connect_timeout_s`.
        """
        settings, qos = self._settings, self._qos
        names = [f"$share/{settings.share_group}/{name}" if settings.share_group else name for name in filters]
        if settings.protocol == "5":
            how = SubscribeOptions(qos=qos, retainHandling=_RETAIN[settings.retained])
            self._paho.subscribe([(name, how) for name in names])
        else:
            self._paho.subscribe([(name, int(qos)) for name in names])
        if no_longer:
            self._paho.unsubscribe(list(no_longer))
        wait = (self._granted, self._ended)
        await asyncio.wait(wait, timeout=settings.connect_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._granted.done():
            raise self._unreachable(f"did not answer SUBSCRIBE {', '.join(names)}")
        for name, granted in zip(names, self._granted.result(), strict=False):
            if granted.value not in (qos, 2):
                raise Refused(
                    f"MQTT broker {settings.where} does not grant QoS {qos} on {name}: {granted}",
                    hint=f"allow this user to subscribe to it, at QoS {qos}",
                )

    async def ended(self) -> str:
        """Wait for the end of the connection; the answer says why it ended."""
        return await asyncio.shield(self._ended)

    def send(self, data: bytes) -> None:
        """Send whole packets, such as acknowledgements, in one write; nothing once the connection has ended."""
        if data and not self._ended.done():
            self._paho.send(data)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send at QoS 1; the packet id, which `published` will name. BadInput: topic or size."""
        try:
            return self._paho.publish(topic, payload, qos=1, retain=retain).mid
        except ValueError as error:
            raise BadInput(f"{len(payload)} bytes cannot be published on {topic!r}: {error}") from error

    def pause(self) -> None:
        """Read nothing more for now; the broker is told that we live."""
        self._paho.paused = True
        self._rest()

    def resume(self) -> None:
        """Read again."""
        if self._paho.paused and not self._ended.done():
            self._paho.paused = False
            self._loop.call_soon(self._resumed)

    async def close(self) -> None:
        """Send what is queued and DISCONNECT; the broker keeps the session for as long as was agreed."""
        if self._is_open:
            self._paho.disconnect()
            await asyncio.wait([self._ended], timeout=_CLOSE_S)
        self._end("was closed by us")

    # what paho calls

    def _client(self, client_id: str) -> BulkClient | StockClient:
        v5 = self._settings.protocol == "5"
        client = reader_of(self._settings)(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else self._clean,
            transport=self._settings.transport,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self._qos = self._settings.qos if client.acknowledges_qos_2 else 1
        client.begin(v5=v5)
        client.received = self._listener.received
        client.max_inflight_messages_set(0)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.get_secret_value() if password else None)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
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
            properties = connect_properties(
                receive_maximum=settings.receive_maximum,
                expiry_s=0 if self._clean else settings.session_expiry_s,
                topic_aliases=settings.topic_aliases,
            )
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

    def _readable(self) -> None:
        try:
            emptied = self._paho.read_available()
        except (BadInput, struct.error, ValueError, LookupError, MQTTException) as error:
            self._end(f"sends no MQTT: {error}")
            return
        if not emptied:  # TLS may hold decrypted bytes that no selector sees
            if not self._paho.paused:
                self._loop.call_soon(self._readable)
        elif self._gather_s and self._is_open and not self._paho.paused:
            self._rest()
            self._resting = self._loop.call_later(self._gather_s, self._read_again)

    def _resumed(self) -> None:
        self._read_again()
        if not self._paho.paused and self._paho.socket() is not None:
            self._readable()  # what was read before the pause is in no selector

    def _rest(self) -> None:
        if (sock := self._paho.socket()) is not None:
            self._loop.remove_reader(sock)

    def _read_again(self) -> None:
        if not self._paho.paused and (sock := self._paho.socket()) is not None:
            self._loop.add_reader(sock, self._readable)

    def _writable(self) -> None:
        self._paho.loop_write()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(1.0, self._tick)
        if not self._paho.paused:
            self._paho.loop_misc()
        elif time.monotonic() - self._pinged > self._settings.keepalive_s / 2:
            self._pinged = time.monotonic()  # its answer is not read, so paho would give the broker up
            self._paho.ping()

    def _end(self, why: str) -> None:
        self._is_open = False
        if not self._ended.done():
            self._ended.set_result(why)
        if not self._welcome.done():
            self._welcome.set_exception(self._unreachable(f"ended the connection: {why}"))
            self._welcome.exception()  # a caller that timed out does not ask for it
        for timer in (self._timer, self._resting):
            if timer is not None:
                timer.cancel()
        self._paho.drop()

    def _unreachable(self, what: str) -> Unreachable:
        return unreachable(f"MQTT broker {self._settings.where}", what)


def _forget(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)
