"""A broker that does as a test says, byte for byte (MQTT 5, sections 2 and 3; MQTT 3.1.1)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

PINGRESP = b"\xd0\x00"


def number(value: int) -> bytes:
    """A length of one to four bytes, seven bits each, lowest first."""
    found = bytearray()
    while True:
        value, low = divmod(value, 128)
        found.append(low | (128 if value else 0))
        if not value:
            return bytes(found)


def text(value: bytes) -> bytes:
    """Two bytes of length, then the bytes."""
    return len(value).to_bytes(2, "big") + value


def publish(
    topic: bytes,
    payload: bytes,
    packet_id: int = 0,
    *,
    qos: int | None = None,
    flags: int = 0,
    known: bytes | None = b"",
) -> bytes:
    """A PUBLISH; `known` are the encoded properties, None for MQTT 3.1.1. QoS 1 with a packet id, unless it is said."""
    qos = (1 if packet_id else 0) if qos is None else qos
    body = text(topic) + (packet_id.to_bytes(2, "big") if qos else b"")
    body += b"" if known is None else number(len(known)) + known
    body += payload
    return bytes([0x30 | flags | qos << 1]) + number(len(body)) + body


class Peer:
    """One client of the scripted broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.v5 = True
        self.connect = b""

    async def packet(self) -> bytes:
        """The next packet; IncompleteReadError when the client has gone."""
        head = await self._reader.readexactly(2)
        length, shift = head[1] & 127, 7
        while head[-1] & 128:
            head += await self._reader.readexactly(1)
            length |= (head[-1] & 127) << shift
            shift += 7
        return head + await self._reader.readexactly(length)

    async def expect(self, first: int) -> bytes:
        """The next packet of this kind; PINGREQ is answered on the way."""
        while (packet := await self.packet())[0] != first:
            if packet[0] == 0xC0:
                self.send(PINGRESP)
        return packet

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def sent(self) -> None:
        await self._writer.drain()

    def stop_reading(self) -> None:
        """Take nothing more from the socket, whose buffer stays as small as the system lets it."""
        transport: Any = self._writer.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport.pause_reading()

    def read_again(self) -> None:
        """Take from the socket again."""
        transport: Any = self._writer.transport
        transport.resume_reading()

    async def welcome(self, *, session_present: bool = False, known: bytes = b"", grant: int = 1) -> None:
        """Accept CONNECT and grant the first SUBSCRIBE."""
        self.connect = await self.expect(0x10)
        self.v5 = self.connect[8] == 5
        behind = number(len(known)) + known if self.v5 else b""
        self.send(b"\x20" + number(2 + len(behind)) + bytes([session_present, 0]) + behind)
        await self.grant(grant)

    async def grant(self, code: int) -> bytes:
        """Answer the next SUBSCRIBE, which has one filter, with this code; the SUBSCRIBE."""
        asked = await self.expect(0x82)
        at = 2 if asked[1] < 128 else 3
        self.send(
            b"\x90"
            + (b"\x04" if self.v5 else b"\x03")
            + asked[at : at + 2]
            + (b"\0" if self.v5 else b"")
            + bytes([code])
        )
        return asked

    def close(self) -> None:
        self._writer.close()


class ScriptedBroker:
    """Hands each connection to `script`, which ends it by returning: `async with ScriptedBroker(script) as broker`."""

    def __init__(self, script: Callable[[Peer], Awaitable[None]]) -> None:
        self._script = script
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connections(self) -> int:
        """How many were made so far."""
        return len(self._tasks)

    async def __aenter__(self) -> ScriptedBroker:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End every connection; raises what a script has raised, an assertion for instance."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(Peer(reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()
