"""What a running bridge tells about itself: one JSON object to whoever connects to a socket in its state folder."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from headwater.contract.errors import BadInput, Unreachable
from headwater.transport.files import file_error

SOCKET = "bridge.sock"
_PATIENCE_S = 2.0
_MOST_BYTES = 4 << 20

_log = structlog.get_logger(__name__)


class RouteView(msgspec.Struct, frozen=True):
    """One route since the bridge started. `last_error` is why a message of it was last refused."""

    match: str
    to: str
    received: int
    refused: int
    last_error: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """All at one moment. Counts are of this life (counts.py), bytes and messages are what is held now."""

    at: int  # ms
    since: int  # ms
    site: str
    pid: int
    broker: str
    connected: bool
    counts: dict[str, int]
    unacknowledged: int  # messages
    held_bytes: int  # on their way to Kafka
    routes: list[RouteView]
    waiting: dict[str, int]  # records that wait, by Kafka topic
    clocks: dict[str, int]  # the assets whose clocks are furthest off: ms to add
    spool: dict[str, int] | None = None  # bytes, most_bytes, records, age_ms
    last_error: str = ""


@asynccontextmanager
async def served(folder: Path, snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
    """Answer until the block ends; a folder that allows no socket costs a warning only."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(msgspec.json.encode(snapshot()) + b"\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    path = folder / SOCKET
    server: asyncio.Server | None = None
    try:
        path.unlink(missing_ok=True)
        with _near(folder) as near:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(f"{near}/{SOCKET}")
            path.chmod(0o600)
            server = await asyncio.start_unix_server(answer, sock=listener)
    except OSError as error:
        _log.warning("`headwater edge top` will see nothing", why=str(file_error(error, path)))
    try:
        yield
    finally:
        if server is not None:
            server.close()
            path.unlink(missing_ok=True)


def ask(folder: Path) -> Snapshot:
    """What the bridge of this state folder tells now; Unreachable when none runs there."""
    path = folder / SOCKET
    try:
        with _near(folder) as near, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(f"{near}/{SOCKET}")
            found = bytearray()
            while data := connection.recv(1 << 16):
                found += data
                if len(found) > _MOST_BYTES:
                    raise BadInput(f"{path} tells more than {_MOST_BYTES} bytes")
    except OSError as error:
        raise Unreachable(
            f"no bridge answers at {path}: {error.strerror or error}",
            hint="start it with `headwater edge run`, or say with HEADWATER_HOME and --site whose bridge is meant",
        ) from error
    try:
        return msgspec.json.decode(bytes(found), type=Snapshot)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unreachable(f"{path} was cut off: {error}", hint="the bridge has just ended; try again") from error


@contextmanager
def _near(folder: Path) -> Iterator[str]:
    """A short name of a folder: the path of a socket has at most 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
