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

from edge_agent.bridge.clockwatch import ClockView
from headwater.contract.errors import BadInput, Unreachable
from headwater.transport.files import file_error

SOCKET = "bridge.sock"
_PATIENCE_S = 2.0
_MOST_BYTES = 4 << 20

_log = structlog.get_logger(__name__)


class RouteView(msgspec.Struct, frozen=True):
    """One route in this life. `last_error` is why a message of it was last refused.

    With a spool a message is received by its route when it leaves the spool: it goes by the routes of then.
    """

    match: str  # empty for what no route fits
    to: str
    received: int
    refused: int
    last_error: str = ""


class SpoolView(msgspec.Struct, frozen=True):
    """The spool now; `syncs` is of this life.

    `is_bound`: Kafka has not been asked yet which of the records it has; there are at most so many.
    """

    bytes: int
    most_bytes: int
    records: int  # that are not safe in Kafka
    age_ms: int
    syncs: int = 0
    is_bound: bool = False


class SparkplugView(msgspec.Struct, frozen=True):
    """The Sparkplug host of this life; the numbers are those of contract/sparkplug/standing.py.

    `events`: what happened in this life, by name; refusals begin with `refused`, then the reason.
    """

    role: str = ""
    host_id: str = ""
    edge_nodes: int = 0
    online: int = 0
    devices: int = 0
    stale: int = 0
    held: int = 0
    unborn: int = 0
    unborn_named: tuple[str, ...] = ()
    gapped: int = 0
    gapped_named: tuple[str, ...] = ()
    events: dict[str, int] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """All at one moment. Counts are of this life (counts.py), bytes and messages are what is held now."""

    at: int = 0  # ms
    since: int = 0  # ms
    site: str = ""
    pid: int = 0
    broker: str = ""
    connected: bool = False
    running: bool = False  # Kafka has answered and what a former life left is known
    counts: dict[str, int] = {}
    unaccounted: int = 0  # messages that counts and places do not agree about; 0 unless something is wrong
    unacknowledged: int = 0  # messages of this connection
    held_bytes: int = 0  # on their way to Kafka
    routes: list[RouteView] = []
    waiting: dict[str, int] = {}  # records on their way, by Kafka topic
    clocks: ClockView = ClockView()
    spool: SpoolView | None = None
    sparkplug: SparkplugView | None = None
    standstill_s: float = 0.0  # for how long Kafka has taken nothing of what is on its way
    last_error: str = ""
    last_error_at: int = 0  # ms
    last_error_is_over: bool = False  # it was an outage, and all works now

    @property
    def standing(self) -> str:
        """What the bridge is at, in words."""
        bound = "up to " if self.spool and self.spool.is_bound else ""
        waits = f"; {bound}{count:,} messages wait" if (count := self._waiting) else ""
        if not self.running:
            return f"STARTING, waits for Kafka{waits}"
        if not self.connected:
            return f"NOT CONNECTED, waits for the MQTT broker {self.broker}{waits}"
        if self.standstill_s:
            return f"subscribed, but Kafka has taken nothing for {self.standstill_s:,.0f} s{waits}"
        return "subscribed"

    @property
    def _waiting(self) -> int:
        """Before Kafka has answered: what the spool holds, at most."""
        return self.counts.get("waiting", 0) or (self.spool.records if self.spool and self.spool.is_bound else 0)


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
    server, inode = None, 0
    try:
        listener = _listener(path)
        inode = path.stat().st_ino
        server = await asyncio.start_unix_server(answer, sock=listener)
    except OSError as error:
        _log.warning("`headwater edge top` will see nothing", why=str(file_error(error, path)))
    try:
        yield
    finally:
        if server is not None:
            server.close()
            with suppress(OSError):
                if path.stat().st_ino == inode:  # a later life may have put its own there
                    path.unlink()


def _listener(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _near(path.parent) as near:
        found.bind(f"{near}/{SOCKET}")
    path.chmod(0o600)
    return found


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
