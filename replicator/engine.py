"""What every engine is to the link: one partition's way from its source log to its target log."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from headwater.contract.errors import DataMissing, HeadwaterError, Permanent, Refused, Transient, Untrusted
from headwater.transport.kafka_batch import Cluster, Fetched, codes
from headwater.transport.kafka_batch.wire import Buffer
from replicator.account import Account
from replicator.anchor import Anchor
from replicator.journal import Journal
from replicator.links.lines import Lines
from replicator.position import (
    CORRUPT,
    DIVERGED,
    DOUBLED,
    RECREATED,
    RETENTION,
    TRUNCATED,
    UNREADABLE,
    Gap,
    Position,
)
from replicator.settings import GapPolicy
from replicator.way import Way


class Written(NamedTuple):
    """A batch at the target, for the proof: `stamp` as in proof/entry.py, `sent` all of it where that is kept.

    `exact`: it is one batch of the source, byte for byte. The offsets are those behind it.
    """

    era: int
    source_next: int
    target_next: int
    stamp: int
    exact: bool
    sent: Buffer = b""


class Shipment(NamedTuple):
    """What the target has acknowledged. `written` is left out where positions do not count records."""

    records: int
    size: int  # bytes as written
    newest_ms: int  # newest record, ms since 1970
    written: Written | None = None


class Unsettled(Transient):
    """It is not known what the target took: `anchor` finds out."""


def now_ms() -> int:
    """Wall clock in ms since 1970."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Ends:
    """What the engines of a link share. `probe` reads the source besides the stream of fetches."""

    probe: Cluster
    target: Cluster
    journal: Journal
    anchor: Anchor
    on_gap: GapPolicy
    on_shipped: Callable[[Way, Shipment], None]
    account: Account
    lines: Lines
    clock: Callable[[], int] = now_ms
    keeps_data: bool = False  # whether `Written.sent` is kept


class Engine(Protocol):
    """Carries one partition. `anchor` comes first, and again after each Transient error of `ship` and `settle`.

    All raise Transient when trying again may help, Fenced when another replicator has taken over, and another
    Permanent error when this partition cannot go on.
    """

    @property
    def name(self) -> str:
        """Word for status and metrics."""
        ...

    @property
    def way(self) -> Way:
        """Which partition it carries."""
        ...

    @property
    def position(self) -> Position | None:
        """What the target has acknowledged; None before the first `anchor`."""
        ...

    def checkpoint(self) -> Position | None:
        """Return the position with a mark of the newest batch, to be stored."""
        ...

    async def anchor(self) -> int:
        """Find out from the target where it was; the source offset to fetch from."""
        ...

    async def ship(self, fetched: Fetched) -> None:
        """Send what was fetched, which follows what was shipped before; some of it may still be under way then.

        What it raises may be of an earlier call; nothing is under way then.
        """
        ...

    async def settle(self) -> None:
        """Wait until nothing is under way, and raise what went wrong with it."""
        ...

    def watch(self, tell: Callable[[], None]) -> None:
        """Have `tell` called when something under way has failed, which `settle` then raises."""
        ...


def missing(gap: Gap) -> Permanent:
    """Build the error for a gap at which a link halts."""
    where, offsets = f"{gap.topic}[{gap.partition}]", f"offsets {gap.first} to {gap.end - 1}"
    text = {
        RETENTION: "were deleted before they were shipped",
        DOUBLED: "at the target repeat records before them",
        CORRUPT: "do not match their checksum",
        UNREADABLE: "cannot be read",
        RECREATED: f"were shipped, but the topic was made anew since; what it has from {gap.resumed_at} on was not",
        TRUNCATED: f"were shipped, but the source's log ends before them; it is the same up to {gap.resumed_at}",
        DIVERGED: f"were shipped, but the source has another log now, from {gap.resumed_at} on",
    }[gap.cause]
    hint = "set on_gap = continue to record this and go on behind it"
    if gap.cause in {CORRUPT, UNREADABLE}:
        return Untrusted(f"{where}: {offsets} {text}", hint=f"restore the source's log from a replica, or {hint}")
    return DataMissing(f"{where}: {offsets} {text}", hint=hint)


def unfetched(source: Cluster, way: Way, code: int) -> HeadwaterError:
    """Build the error for a partition that cannot be fetched: Refused where this user may not read it."""
    lacking = source.denied("Read", way.topic)
    failure = codes.failure(code, f"fetching {way.topic}[{way.partition}]", denied=lacking)
    return failure if isinstance(failure, Refused) else Transient(str(failure), hint=failure.hint)
