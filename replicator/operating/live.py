"""What a running link tells about itself: to whoever connects to its socket, and into a file that outlives it.

Both are in `$HEADWATER_HOME/replicator/<site>/`: `replicator.sock` answers with one JSON object; `last.json` is
written every ten seconds and at the end, so that `status` knows something while clusters and process are away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from headwater.contract.errors import Conflict, Permanent, Unreachable, Untrusted
from headwater.transport.files import replace_durably
from headwater.transport.local_socket import answered, asked
from headwater.transport.settings import home

SOCKET = "replicator.sock"
LAST = "last.json"
KEEP_S = 10.0
_MOST_BYTES = 16 << 20

_log = structlog.get_logger(__name__)


class PartitionView(msgspec.Struct, frozen=True):
    """One partition. Records and bytes are of this life; lags are at most, bytes estimated from what was shipped.

    `age_ms` is that of the oldest record that is not at the target; None: none is known to wait. `state`: starting,
    shipping, up to date, paused, halted. `safe_to_delete`: source offset behind what is proven, None: nothing is.
    """

    topic: str
    partition: int
    target: str
    engine: str
    state: str
    source_next: int = -1
    target_next: int = -1
    records: int = 0
    bytes: int = 0
    lag_records: int = 0
    lag_bytes: int = 0
    age_ms: int | None = None
    safe_to_delete: int | None = None
    halted: str = ""
    hint: str = ""
    exit_code: int = 0
    doubted: str = ""


class LaneView(msgspec.Struct, frozen=True):
    """One lane. `share`: of the link while more waits in every lane with topics than it carries.

    `topics`: partitions under way.
    `shut`: why it may not send now, `hours` or `budget`, empty while it may; `until`: when it may, ms since 1970.
    `sent_bytes` left in this life.
    """

    name: str
    share: float
    topics: dict[str, int] = {}
    lag_records: int = 0
    lag_bytes: int = 0
    age_ms: int | None = None
    sent_bytes: int = 0
    shut: str = ""
    until: int | None = None


class Snapshot(msgspec.Struct, frozen=True):
    """A link at one moment. Rates are of the last 20 s; `sent_bytes` are on the road to the target, all included.

    `wasted_bytes` of them were sent again by TCP, or in batches that nobody acknowledged. `eta_s`: until all that waits
    is shipped at this rate, None: `eta_why` says why nobody knows, or that it grows. `budget_left_bytes`: None without
    a budget. `rate_bytes_s`: at which batches leave now, None: as they come.
    `failed`: why this way has ended while the process goes on with the other one. `down`: the way down beside it.
    """

    site: str = ""
    pid: int = 0
    at: int = 0
    since: int = 0
    source: str = ""
    target: str = ""
    open: bool = False  # both clusters have answered, and topics are under way
    reached_ms: int = 0  # when the target last acknowledged something in this life
    goodput_bytes_s: float = 0.0
    round_trip_ms: float | None = None
    sent_bytes: int = 0
    wasted_bytes: int = 0
    eta_s: float | None = None
    eta_why: str = ""
    budget_left_bytes: int | None = None
    rate_bytes_s: float | None = None
    connections: int = 0  # to the target
    lanes: list[LaneView] = []  # the first one first
    direction: str = "up"
    failed: str = ""
    hint: str = ""
    exit_code: int = 0
    down: Snapshot | None = None
    paused: dict[str, str] = {}  # topic or * to why
    partitions: list[PartitionView] = []
    last_error: str = ""
    last_error_at: int = 0

    @property
    def lag_records(self) -> int:
        """Of all partitions."""
        return sum(each.lag_records for each in self.partitions)

    @property
    def lag_bytes(self) -> int:
        """Of all partitions."""
        return sum(each.lag_bytes for each in self.partitions)

    @property
    def troubles(self) -> list[PartitionView]:
        """Partitions of either way that stand still, or whose target is not what was shipped."""
        below = [] if self.down is None else self.down.troubles
        return [each for each in self.partitions if each.halted or each.doubted] + below

    @property
    def ways(self) -> list[Snapshot]:
        """Both ways, this one first."""
        return [self] if self.down is None else [self, self.down]

    @property
    def trouble_code(self) -> int:
        """Exit code of the worst trouble of either way."""
        codes = [each.exit_code or Untrusted.exit_code for each in self.troubles]
        return max([*codes, *(each.exit_code for each in self.ways)])


def folder_of(site: str) -> Path:
    """Where a link of a site keeps its socket and its last word."""
    return home() / "replicator" / site


@asynccontextmanager
async def served(folder: Path, snapshot: Callable[[], Snapshot]) -> AsyncIterator[None]:
    """Answer and keep until the block ends; a folder that cannot be written costs a warning only."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(answered(folder / SOCKET, lambda: msgspec.json.encode(snapshot()) + b"\n"))
        except Permanent as error:
            _log.warning("`headwater replicate watch` will see nothing", why=str(error), hint=error.hint)
            yield
            return
        keeping = asyncio.create_task(_keep(folder / LAST, snapshot))
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(Permanent):
                _write(folder / LAST, snapshot())


async def _keep(path: Path, snapshot: Callable[[], Snapshot]) -> None:
    while True:
        await asyncio.sleep(KEEP_S)
        try:
            _write(path, snapshot())
        except Permanent as error:
            _log.warning("status will know less while this link is away", why=str(error), hint=error.hint)
            return


def _write(path: Path, snapshot: Snapshot) -> None:
    replace_durably(path, msgspec.json.encode(snapshot))


def ask(folder: Path) -> Snapshot:
    """What the link of this folder tells now; Unreachable when none runs there."""
    path = folder / SOCKET
    try:
        return msgspec.json.decode(asked(path, _MOST_BYTES), type=Snapshot)
    except Unreachable as error:
        hint = "start it with `headwater replicate run`, or say with HEADWATER_HOME and the site which one is meant"
        raise Unreachable(f"no replicator runs here: {error}", hint=hint) from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Unreachable(f"{path} was cut off: {error}", hint="the replicator has just ended; try again") from error


def refuse_second(folder: Path, site: str, cause: Permanent) -> None:
    """Conflict where a link of this folder runs: that is why its port is taken."""
    try:
        found = ask(folder)
    except Unreachable:
        return
    why = f"a replicator of {site} runs already here, process {found.pid}"
    hint = "end it first; `headwater replicate watch` shows it"
    raise Conflict(why, hint=hint) from cause


def last_known(folder: Path) -> Snapshot | None:
    """The last word of a link that ran here; None where none is kept or it cannot be read."""
    try:
        return msgspec.json.decode((folder / LAST).read_bytes(), type=Snapshot)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
