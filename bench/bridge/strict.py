"""An MQTT 3.1.1 broker that sends exactly so many messages ahead of their acknowledgement, to one client.

Mosquitto 2.0.11 is no such one: it answers each acknowledgement with `max_inflight_messages` queued messages.
"""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

from bench.bridge import load, wire
from bench.bridge.bed import Sent

_CONNACK, _SUBACK, _PINGRESP = b"\x20\x02\0\0", b"\x90\x03", b"\xd0\0"
_PUBACK, _PINGREQ, _DISCONNECT = 0x40, 0xC0, 0xE0


class StrictBroker:
    """While it is entered, `count` readings of `site` are for whoever subscribes first."""

    def __init__(self, site: str, count: int, window: int) -> None:
        now_us = time.time_ns() // 1000
        contents = [load.payload(number, now_us) for number in range(count)]
        self._packets = [
            wire.packet(0x32, wire.text(load.topic(site, n)) + (n % 65_535 + 1).to_bytes(2, "big") + content)
            for n, content in enumerate(contents)
        ]
        digest = sum(map(load.digest_of, contents)) % (1 << 64)
        self.sent = Sent(count, digest, now_us / 1e6, now_us / 1e6)
        self._window = window
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> StrictBroker:
        """Listen."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        self._listener.close()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.read_packet(client)
            client.sendall(_CONNACK)
            _, body = wire.read_packet(client)
            client.sendall(_SUBACK + body[:2] + b"\1")
            self._send(client)

    def _send(self, client: socket.socket) -> None:
        ahead = done = 0
        received = b""
        while True:
            step = self._window - ahead
            if step and done < len(self._packets):
                due = self._packets[done : done + step]
                client.sendall(b"".join(due))
                done += len(due)
                ahead += len(due)
            more = client.recv(1 << 16)
            received += more
            at = 0
            while at < len(received) and at + (4 if received[at] == _PUBACK else 2) <= len(received):
                kind = received[at]
                at += 4 if kind == _PUBACK else 2
                ahead -= kind == _PUBACK
                if kind == _PINGREQ:
                    client.sendall(_PINGRESP)
            if not more or received[:1] == bytes([_DISCONNECT]):
                return
            received = received[at:]
