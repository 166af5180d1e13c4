"""The few MQTT packets that load and sink need, as bytes (MQTT 3.1.1 and 5, OASIS)."""

from __future__ import annotations

import socket
import struct
from typing import Literal

from headwater.contract.errors import Unreachable

Protocol = Literal["3.1.1", "5"]
_SESSION_EXPIRY_S = 3600
_TIMEOUT_S = 30.0


def text(value: str) -> bytes:
    """A string with its length (1.5.3)."""
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def packet(first: int, body: bytes) -> bytes:
    """A packet: first byte, remaining length as a variable byte integer (2.2.3), body."""
    length, header = len(body), bytearray([first])
    while True:
        length, low = divmod(length, 128)
        header.append(low | (128 if length else 0))
        if not length:
            return bytes(header) + body


def connect(
    port: int, client_id: str, protocol: Protocol, *, clean: bool = False, receive_maximum: int = 1000
) -> socket.socket:
    """A connection to the broker on this machine that has got its CONNACK.

    Unless `clean`, the session goes on where it is, and stays when the connection ends. Raises Unreachable.
    """
    connection = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = text("MQTT") + bytes([5 if protocol == "5" else 4, 2 if clean else 0]) + struct.pack(">H", 600)
    if protocol == "5":
        expiry = 0 if clean else _SESSION_EXPIRY_S
        properties = struct.pack(">BIBH", 0x11, expiry, 0x21, receive_maximum)  # 3.1.2.11.2 and .3
        head += bytes([len(properties)]) + properties
    connection.sendall(packet(0x10, head + text(client_id)))
    answer = read_packet(connection)
    if answer[0] != 0x20 or answer[1][1] != 0:
        raise Unreachable(f"the MQTT broker on port {port} answered CONNECT with {answer}")
    return connection


def read_packet(connection: socket.socket) -> tuple[int, bytes]:
    """First byte and body of the next packet, and not a byte more."""
    first, length, shift = _read(connection, 1)[0], 0, 0
    while True:
        low = _read(connection, 1)[0]
        length |= (low & 127) << shift
        shift += 7
        if low < 128:
            return first, _read(connection, length)


def _read(connection: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        more = connection.recv(count - len(content))
        if not more:
            raise Unreachable("the MQTT broker closed the connection")
        content += more
    return content


def open_session(port: int, client_id: str, topic_filter: str, protocol: Protocol) -> None:
    """Subscribe at QoS 1 and leave: from now on the broker queues for this client."""
    connect(port, client_id, protocol, clean=True).close()
    with connect(port, client_id, protocol) as connection:
        properties = b"\0" if protocol == "5" else b""
        connection.sendall(packet(0x82, b"\0\1" + properties + text(topic_filter) + b"\1"))
        first, body = read_packet(connection)
        if first != 0x90 or body[-1] != 1:
            raise Unreachable(f"the MQTT broker on port {port} refused to subscribe {topic_filter}")
        connection.sendall(b"\xe0\0")


def drop_session(port: int, client_id: str, protocol: Protocol) -> None:
    """End the session and whatever is queued for it."""
    with connect(port, client_id, protocol, clean=True) as connection:
        connection.sendall(b"\xe0\0")
