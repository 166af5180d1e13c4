"""paho's client on a socket that is connected already: paho keeps the protocol, PUBLISH goes past it.

paho reads a packet with some eight system calls and a dozen objects. `BulkClient` takes whatever the socket holds, cuts
PUBLISH out itself (packets.py) and hands every other packet to paho through the private methods named in `TOUCHED`,
which are looked for at the start. `StockClient` lets paho read and touches nothing private but the three in `NEEDED`;
it serves unknown versions of paho, WebSockets, and whoever asks for it.
"""

from __future__ import annotations

import importlib.metadata
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from headwater.contract.errors import BadInput, BadSetting
from headwater.transport.mqtt import packets
from headwater.transport.mqtt.packets import Cutter, Other, Publish
from headwater.transport.mqtt.settings import MqttSettings

KNOWN_PAHO = ("2.1.", "2.2.")
NEEDED = ("_create_socket", "_send_pingreq", "_sock_close")
TOUCHED = (*NEEDED, "_packet_read", "_packet_queue", "_sock_recv", "_loop_rc_handle", "_sock", "_out_packet")
MOST_PACKET_BYTES = 32 << 20
CLOSED = "the broker closed it without a word"
_READ_BYTES = 256 << 10
_PACKETS_A_TURN = 256  # then others on the event loop have their turn
_BYTES_A_TURN = 1 << 20
_PUBACK = b"\x40\x02"
_PUBREL = 0x60
_PUBCOMP = b"\x70\x02"
_PINGREQ = 0xC0
_MOST_UNSENT_BYTES = 1 << 20  # four times the PUBCOMPs for all packet ids

_log = structlog.get_logger(__name__)

Received = Callable[[list[Publish]], None]


def unknown_internals() -> str:
    """Why BulkClient cannot be used with the paho that is installed; empty when it can."""
    version = importlib.metadata.version("paho-mqtt")
    if not version.startswith(KNOWN_PAHO):
        return f"paho-mqtt {version} is not one of {', '.join(known + 'x' for known in KNOWN_PAHO)}"
    missing = _missing(TOUCHED)
    return f"paho-mqtt {version} has no {missing}" if missing else ""


class _Unsent(bytearray):
    """Answers that found no room in the socket, as one packet of paho's queue: each would cost 500 bytes there."""


class _Client(paho.Client):
    """What both have in common. `received` is told of PUBLISH packets in the order of receipt."""

    prepared: Any = None
    received: Received
    paused = False  # hand nothing on
    idle = True  # the last read found nothing, or nobody knows

    def _create_socket(self) -> Any:
        return self.prepared

    def ping(self) -> None:
        """Tell the broker that we are here, while nothing is read."""
        self._send_pingreq()

    def drop(self) -> None:
        """Close the socket without a DISCONNECT."""
        self._sock_close()


class BulkClient(_Client):
    """Reads whole buffers. At QoS 2 it leaves PUBREC to the caller, so that a crash before it loses nothing."""

    acknowledges_qos_2 = True
    resolves_aliases = True

    def begin(self, *, v5: bool, topic_aliases: int) -> None:
        """Make ready for a new connection, on which the broker may use this many topic aliases."""
        self._cutter = Cutter(v5=v5, most_bytes=MOST_PACKET_BYTES, topic_aliases=topic_aliases)
        self._buffer = bytearray(_READ_BYTES)
        self._fed = b""

    def send(self, data: bytes) -> None:
        """Send whole packets, at once where the socket takes them and nothing of paho's waits before them."""
        sock: Any = self._sock
        if sock is not None and not self._out_packet:
            with suppress(OSError):  # a full socket, or an error that paho will find again
                data = data[sock.send(data) :]
        if not data:
            return
        waiting: Any = self._out_packet
        if waiting and isinstance(waiting[-1]["packet"], _Unsent):
            waiting[-1]["packet"] += data
            waiting[-1]["to_process"] += len(data)
        else:  # what follows a part of a packet is none; paho only looks whether it is PUBLISH or DISCONNECT
            self._packet_queue(_PUBACK[0], _Unsent(data), 0, 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        """Give paho the packet that was cut for it."""
        data, self._fed = self._fed[:bufsize], self._fed[bufsize:]
        return data

    def read_available(self) -> bool:
        """Handle one buffer; True when the socket has been emptied.

        BadInput: this is no MQTT. OSError: the connection is lost.
        """
        if not self._cut():
            return True
        sock: Any = self._sock
        self.idle = False
        try:
            size = sock.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.idle = True
            return True
        if size == 0:
            raise ConnectionResetError(CLOSED)
        self._cutter.feed(bytes(memoryview(self._buffer)[:size]))
        return not self._cut() or not isinstance(sock, ssl.SSLSocket) or not sock.pending()

    def _cut(self) -> bool:
        """Hand on what was read; False when the caller has asked to stop, or the connection has ended."""
        while not self.paused and (found := self._cutter.cut()) is not None:
            if isinstance(found, list):
                self.received(found)
            elif not self._handle(found):
                return False
        return not self.paused

    def _handle(self, packet: Other) -> bool:
        data = packet.data
        if data[0] & 0xF0 == _PUBREL:
            if len(data) < 4:
                raise BadInput("a PUBREL without a packet id")
            self.send(_PUBCOMP + data[2:4])  # durable before PUBREC left: nothing to look up
            waiting: Any = self._out_packet
            if waiting and waiting[-1]["to_process"] > _MOST_UNSENT_BYTES:
                raise ConnectionAbortedError(f"the broker does not read: {_MOST_UNSENT_BYTES} bytes wait to be sent")
            return True
        if data[0] == _PINGREQ:
            raise BadInput("a PINGREQ, which is for clients to send")
        self._fed = data
        code = self._packet_read()
        if code:
            self._loop_rc_handle(code)
        return self._sock is not None and not code


class StockClient(_Client):
    """Lets paho read, a packet at a time. paho sends PUBREC on receipt, so QoS 2 is not subscribed to with it."""

    acknowledges_qos_2 = False
    resolves_aliases = False

    def begin(self, *, v5: bool, topic_aliases: int) -> None:  # noqa: ARG002  # paho knows its protocol
        """Make ready for a new connection."""
        self._taken: list[Publish] = []
        self._taken_bytes = 0
        self.on_message = self._take_message

    def send(self, data: bytes) -> None:
        """Acknowledge through paho, a packet at a time; what came at QoS 2 has been answered with PUBREC before."""
        for at in range(0, len(data), 4):
            self.ack(int.from_bytes(data[at + 2 : at + 4], "big"), 1 if data[at] == _PUBACK[0] else 2)

    def read_available(self) -> bool:
        """Handle some packets; True when the socket has been emptied, as far as paho lets anybody know."""
        for _ in range(_PACKETS_A_TURN):
            before = len(self._taken)
            if self.socket() is None or self.loop_read() or len(self._taken) == before:
                break
            if self._taken_bytes > _BYTES_A_TURN:
                break
        taken, self._taken, self._taken_bytes = self._taken, [], 0
        self.idle = not taken
        if taken:
            self.received(taken)
        sock: Any = self.socket()
        return sock is None or not getattr(sock, "pending", int)()

    def _take_message(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        first = packets.PUBLISH | message.dup << 3 | message.qos << 1 | message.retain
        number = message.mid.to_bytes(2, "big") if message.qos else b""
        topic = message._topic  # noqa: SLF001  # `topic` raises for what is not UTF-8
        self._taken_bytes += len(message.payload)
        self._taken.append((first, topic, number, bytes(message.payload), _known(message.properties)))


def _missing(names: tuple[str, ...]) -> str:
    made = paho.Client.__init__.__code__.co_names
    return ", ".join(name for name in names if not hasattr(paho.Client, name) and name not in made)


def reader_of(settings: MqttSettings) -> type[BulkClient] | type[StockClient]:
    """The reader that serves these settings; a warning says why where it is not the fast one.

    BadSetting: the paho that is installed can serve neither.
    """
    if missing := _missing(NEEDED):
        version = importlib.metadata.version("paho-mqtt")
        raise BadSetting(
            f"paho-mqtt {version} cannot be used: it has no {missing}", hint="install a version from 2.1 to 2.2"
        )
    why = "the setting `reader` asks for it" if settings.reader == "stock" else unknown_internals()
    if settings.transport == "websockets":
        why = "WebSockets are read by paho"
    if not why:
        return BulkClient
    _log.warning("messages are read by paho, at ten times the cost", why=why, broker=settings.where)
    return StockClient


def _known(properties: Any) -> packets.Properties:
    if properties is None or properties.isEmpty():
        return ()
    found = [(packets.USER + name, value.encode()) for name, value in getattr(properties, "UserProperty", ())]
    if hasattr(properties, "ContentType"):
        found.append((packets.CONTENT_TYPE, properties.ContentType.encode()))
    if hasattr(properties, "MessageExpiryInterval"):
        found.append((packets.EXPIRY, properties.MessageExpiryInterval.to_bytes(4, "big")))
    return tuple(found)


def connect_properties(*, receive_maximum: int, expiry_s: int, topic_aliases: int) -> PahoProperties:
    """CONNECT properties of MQTT 5 (3.1.2.11)."""
    properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.ReceiveMaximum = receive_maximum
    properties.MaximumPacketSize = MOST_PACKET_BYTES
    if topic_aliases:
        properties.TopicAliasMaximum = topic_aliases
    if expiry_s:
        properties.SessionExpiryInterval = expiry_s
    return properties


def acknowledgements(packet_ids: list[bytes]) -> bytes:
    """The PUBACKs for QoS 1, in this order; the short form is valid in 3.1.1 and 5 (MQTT 5, 3.4.2.1)."""
    return _PUBACK.join((b"", *packet_ids))


def check_utf8(topic: bytes) -> str:
    """The topic as text; BadInput when it is none (MQTT 5, 1.5.4: UTF-8 without NUL)."""
    try:
        text = topic.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"a topic that is not UTF-8: {topic[:80]!r}") from error
    if "\0" in text:
        raise BadInput(f"a topic with NUL: {text[:80]!r}")
    return text
