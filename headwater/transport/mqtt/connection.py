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
from paho.mqtt.subscribeoptions import MQTTException

from headwater.contract.errors import BadInput, Unreachable
from headwater.transport.dialling import dialling, unreachable
from headwater.transport.mqtt.attention import Attention
from headwater.transport.mqtt.client import CLOSED, BulkClient, StockClient, connect_properties, reader_of
from headwater.transport.mqtt.dial import dial
from headwater.transport.mqtt.keepalive import Keepalive
from headwater.transport.mqtt.listener import Listener
from headwater.transport.mqtt.presence import Message
from headwater.transport.mqtt.reasons import ending, refusal
from headwater.transport.mqtt.settings import MqttSettings
from headwater.transport.mqtt.subscribing import Subscribing

_CLOSE_S = 2.0


class Connection:
    """Made by `open`; `listener` is told what comes in."""

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        listener: Listener,
        *,
        clean: bool,
        gather_s: float,
        will: Message | None = None,
    ) -> None:
        self.session_present = False
        self.receive_maximum = 65535  # of the broker: how many we may publish ahead
        self.packet_bytes: int | None = None  # of the broker: the largest packet that it takes, where it says so
        self.end_code: int | None = None  # of the DISCONNECT that the broker sent, if it did
        self._listener = listener
        self._settings = settings
        self._clean = clean
        self._gather_s = gather_s
        self._loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[None] = self._loop.create_future()
        self._is_open = False
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._attention = Attention(self._loop, gather_s, self._readable, self._rested)
        self._alive = Keepalive(settings.keepalive_s, time.monotonic())
        self._paho = self._client(client_id)
        if will is not None:
            self._paho.will_set(will.topic, will.payload, will.qos, will.retain)
        self._subscribing = Subscribing(self._paho, settings, self._ended, self._alive)

    @classmethod
    async def open(
        cls,
        settings: MqttSettings,
        client_id: str,
        listener: Listener,
        *,
        clean: bool = False,
        gather_s: float = 0.0,
        will: Message | None = None,
        sending: Callable[[], None] = lambda: None,
    ) -> Connection:
        """Connect and log in within `connect_timeout_s`; messages of a kept session may arrive at once.

        `sending` is called before CONNECT leaves, so not while nobody answers at the address.
        After a read nothing is read for `gather_s`, where the listener may rest: at low rates that saves CPU.
        Unreachable: no answer, or the broker is not available. Refused: it does not want us. Untrusted: certificate.
        """
        connection = cls(settings, client_id, listener, clean=clean, gather_s=gather_s, will=will)
        try:
            async with dialling(f"MQTT broker {settings.where}", settings.connect_timeout_s):
                connection._paho.prepared = await dial(settings)
                sending()
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
        await self._subscribing.demand(filters, self._qos)
        if no_longer:  # afterwards: what both match is not missed
            self._paho.unsubscribe(list(no_longer))

    async def is_granted(self, topic: str) -> bool:
        """Subscribe to one topic at QoS 0, without what is retained; False when the broker does not allow it.

        Unreachable: it does not answer within `connect_timeout_s`.
        """
        return [granted.value for granted in await self._subscribing.ask([topic], 0, "never")] == [0]

    async def ended(self) -> str:
        """Wait for the end of the connection; the answer says why it ended."""
        return await asyncio.shield(self._ended)

    def send(self, data: bytes) -> None:
        """Send whole packets, such as acknowledgements, in one write; nothing once the connection has ended."""
        if data and not self._ended.done():
            self._paho.send(data)

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Send; the packet id, which `published` will name. BadInput: topic or size."""
        try:
            return self._paho.publish(topic, payload, qos=qos, retain=retain).mid
        except ValueError as error:
            raise BadInput(f"{len(payload)} bytes cannot be published on {topic!r}: {error}") from error

    @property
    def heard(self) -> float:
        """When the last byte arrived, in seconds of `time.monotonic`."""
        return self._alive.heard

    def pulse(self, topic: str) -> None:
        """Publish nothing on `topic` at QoS 0, and ask for a sign of life behind it."""
        self._paho.publish(topic, b"", qos=0)
        self._paho.ping()

    def give_up(self, why: str) -> None:
        """End it without a word to the broker, which may not be listening."""
        self._end(why)

    def pause(self) -> None:
        """Read nothing more for now; the broker is told that we live."""
        self._paho.paused = True
        self._attention.rest()

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
        client.begin(v5=v5, topic_aliases=self._settings.topic_aliases)
        client.received = self._listener.received
        client.max_inflight_messages_set(0)
        if self._settings.username is not None:
            password = self._settings.password
            client.username_pw_set(self._settings.username, password.get_secret_value() if password else None)
        client.on_connect = self._on_connect
        client.on_publish = lambda _c, _u, mid, _code, _p: self._listener.published(mid)
        loop = self._loop
        client.on_disconnect = self._on_disconnect
        client.on_socket_open = lambda _c, _u, sock: self._attention.opened(sock.fileno())
        client.on_socket_close = lambda _c, _u, _sock: self._attention.rest()
        client.on_socket_register_write = lambda _c, _u, sock: loop.add_writer(sock.fileno(), self._writable)
        client.on_socket_unregister_write = lambda _c, _u, sock: _forget(loop.remove_writer, sock.fileno())
        return client

    def _send_connect(self) -> None:
        settings = self._settings
        if settings.protocol == "5":
            properties = connect_properties(
                receive_maximum=settings.receive_maximum,
                expiry_s=0 if self._clean else settings.session_expiry_s,
                topic_aliases=settings.topic_aliases if self._paho.resolves_aliases else 0,
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
            self._welcome.set_exception(refusal(self._settings.where, reason.value, str(reason)))
            return
        self.session_present = flags.session_present
        self.receive_maximum = getattr(properties, "ReceiveMaximum", 65535)
        self.packet_bytes = getattr(properties, "MaximumPacketSize", None)
        self._alive.period_s = getattr(properties, "ServerKeepAlive", 0) or self._settings.keepalive_s
        self._is_open = True
        self._welcome.set_result(None)
        self._listener.opened(self)

    def _on_disconnect(self, _c: Any, _u: Any, flags: paho.DisconnectFlags, reason: ReasonCode, _p: Any) -> None:
        why = CLOSED
        if flags.is_disconnect_packet_from_server:
            self.end_code = reason.value
            why = ending(reason.value, str(reason))
        self._loop.call_soon(self._end, why)  # paho holds a lock now, which it takes again to close the socket

    def _readable(self) -> None:
        self._alive.heard = time.monotonic()
        self._read()

    def _rested(self) -> None:
        if not self._paho.paused:
            self._read()
            if not self._paho.idle:
                self._alive.heard = time.monotonic()

    def _read(self) -> None:
        if self._ended.done() or self._paho.socket() is None:
            return  # it was closed between the call and its turn
        try:
            emptied = self._paho.read_available()
        except (BadInput, struct.error, ValueError, LookupError, MQTTException) as error:
            self._end(f"sends no MQTT: {error}")
            return
        except OSError as error:
            self._end(str(error))
            return
        except BaseException:  # whatever it is: a reader that has lost its place must not stay
            self._end("was lost to a defect")
            raise
        if self._paho.paused or self._paho.socket() is None:
            return
        if not emptied:  # TLS may hold decrypted bytes that no selector sees
            self._loop.call_soon(self._readable)
        elif self._gather_s and self._is_open and not self._paho.idle and self._listener.may_rest():
            self._attention.rest(wake=True)
        else:
            self._attention.attend()

    def _resumed(self) -> None:
        if not self._paho.paused:
            self._readable()  # what was read before the pause is in no selector

    def _writable(self) -> None:
        self._paho.loop_write()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(1.0, self._tick)
        now = time.monotonic()
        if self._paho.paused or not self._is_open:
            self._alive.heard = now  # nothing is read, or the login has a limit of its own
        if self._alive.is_silent(now):
            self._end(f"the broker was silent for {self._alive.period_s:g} s")
        elif self._is_open and self._alive.ping_is_due(now):
            self._paho.ping()

    def _end(self, why: str) -> None:
        self._is_open = False
        if not self._ended.done():
            self._ended.set_result(why)
        if not self._welcome.done():
            self._welcome.set_exception(self._unreachable(f"ended the connection: {why}"))
            self._welcome.exception()  # a caller that timed out does not ask for it
        self._attention.rest()
        if self._timer is not None:
            self._timer.cancel()
        self._paho.drop()

    def _unreachable(self, what: str) -> Unreachable:
        return unreachable(f"MQTT broker {self._settings.where}", what)


def _forget(call: Callable[..., object], *arguments: object) -> None:
    call(*arguments)
