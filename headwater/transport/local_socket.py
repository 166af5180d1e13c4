"""One answer to whoever connects to a Unix socket in a folder: how a process tells about itself on its own machine."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from headwater.contract.errors import BadInput, Unreachable
from headwater.transport.files import file_error

_PATIENCE_S = 2.0


@asynccontextmanager
async def answered(path: Path, answer: Callable[[], bytes]) -> AsyncIterator[None]:
    """Send `answer()` to each who connects, until the block ends; Permanent where there can be no socket."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(answer())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    try:
        listener, inode = _listener(path)
        server = await asyncio.start_unix_server(serve, sock=listener)
    except OSError as error:
        raise file_error(error, path) from error
    try:
        yield
    finally:
        server.close()
        _take_away(path, inode)


def _take_away(path: Path, inode: int) -> None:
    with suppress(OSError):
        if path.stat().st_ino == inode:  # a later life may have put its own there
            path.unlink()


def _listener(path: Path) -> tuple[socket.socket, int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _near(path.parent) as near:
        found.bind(f"{near}/{path.name}")
    path.chmod(0o600)
    return found, path.stat().st_ino


def asked(path: Path, most_bytes: int) -> bytes:
    """The answer at a socket; Unreachable where nobody answers, BadInput for more than `most_bytes`."""
    found = bytearray()
    try:
        with _near(path.parent) as near, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(f"{near}/{path.name}")
            while data := connection.recv(1 << 16):
                found += data
                if len(found) > most_bytes:
                    raise BadInput(f"{path} tells more than {most_bytes} bytes")
    except OSError as error:
        raise Unreachable(f"nobody answers at {path}: {error.strerror or error}") from error
    return bytes(found)


@contextmanager
def _near(folder: Path) -> Iterator[str]:
    """A short name of a folder: the path of a socket has at most 107 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
