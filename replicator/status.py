"""How far a link is, asked of both clusters: it works whether or not the replicator runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from headwater.contract.errors import BadInput, DataMissing, Refused, Transient, Unreachable
from headwater.contract.topics import positions
from headwater.transport.kafka_batch import Cluster, Record, read_compacted
from replicator import losses, targets, waits
from replicator.ends import reached
from replicator.engine import now_ms
from replicator.fresh.aside import DEFERRED
from replicator.fresh.status import standing
from replicator.limits import NO_LIMIT, Limits
from replicator.mm2.refresh import chosen, drift
from replicator.notices import Notice
from replicator.position import GAP_PREFIX, Gap, Position, decode, position_key
from replicator.proof.heads import safe_offset
from replicator.records.choosing import engine_of
from replicator.settings import ReplicatorSettings
from replicator.way import Way

Kept = dict[bytes, Record]
_SILENT_INTERVALS = 4  # between stored positions, after which a replicator that has work is taken to be away


class PartitionStatus(msgspec.Struct, frozen=True):
    """One partition. `lag_records` may count markers of transactions too; `lag_s` is the age of what comes next.

    `reworked`: source batches that were built anew in the link's present life, by why (fitting.py). `replaced`: records
    for which something else stands at the target, by reason (quarantine.py). `void`: records that were older than the
    target's retention when they were shipped; `void_next`: whether what comes next is. `halted`: why it stands still,
    with what to do and the exit code of that trouble, `tried`: when it was last tried again, ms since 1970.
    `filtered`: records that rules left out in the link's present life, by rule; `unreadable`: values that they could
    not read, as `<rule>: <why>, <shipped or dropped>`.
    `safe_to_delete`: source offset behind what is proven. `lost`: offsets that the target had acknowledged and has no
    more. `undecided`: how many of `lag_records` are behind the begin of an open transaction at the source.
    """

    partition: int
    state: str  # up to date, behind, not started, records missing, halted
    shipped: int  # offset that the target's log ends at: records, and record by record also markers of transactions
    lag_records: int
    lag_s: float
    missing: tuple[int, int] | None  # source offsets [first, end) that were deleted before they were shipped
    engine: str = "batch"
    reworked: dict[str, int] = {}
    replaced: dict[str, int] = {}
    void: int = 0
    void_next: bool = False
    halted: str = ""
    hint: str = ""
    exit_code: int = 0
    safe_to_delete: int | None = None
    filtered: dict[str, int] = {}
    unreadable: dict[str, int] = {}
    tried: int = 0
    lost: int = 0
    undecided: int = 0


class TopicStatus(msgspec.Struct, frozen=True):
    """One topic, without partitions where the source has none of that name; `gaps` are those recorded so far.

    `why`: the reason for an engine other than the usual one.
    `drift`: configurations that differ, by name, as the link would set them now and as they are at the target.
    """

    topic: str
    target: str
    engine: str
    partitions: list[PartitionStatus]
    gaps: list[Gap]
    why: str = ""
    drift: dict[str, tuple[str, str]] = {}

    @property
    def state(self) -> str:
        """The worst of its partitions."""
        order = ("halted", "records missing", "not started", "behind", "up to date")
        return min((each.state for each in self.partitions), key=order.index, default="no such topic")


class LinkStatus(msgspec.Struct, frozen=True):
    """A whole link. `stored_ms` is when a replicator last said how far it is (None: never), which it does as it ships.

    `running`: False where something waits and no replicator ships it; None where nothing waits, which tells nothing.
    """

    site: str
    topics: list[TopicStatus]
    stored_ms: int | None = None
    running: bool | None = None

    @property
    def exit_code(self) -> int:
        """What `headwater replicate status` ends with: the code of a halted partition, or 8 for lost records."""
        partitions = [each for topic in self.topics for each in topic.partitions]
        lost = [DataMissing.exit_code for each in partitions if each.missing or each.lost]
        return max([each.exit_code for each in partitions] + lost, default=0)


@asynccontextmanager
async def open_ends(settings: ReplicatorSettings) -> AsyncIterator[tuple[Cluster, Cluster]]:
    """Source and target of a link, for questions."""
    client_id = f"headwater-status-{settings.site}"
    async with (
        reached(settings, "source", client_id) as source,
        reached(settings, "target", client_id) as target,
    ):
        yield source, target


async def link_status(settings: ReplicatorSettings) -> LinkStatus:
    """Compare what is at the source with what is at the target; Unreachable if one of them is."""
    async with open_ends(settings) as (source, target):
        kept = await stored(target, settings.site)
        said = await losses.said(target, settings.site)
        found = []
        for topic in await chosen(source, settings):
            found.append(await _topic_status(source, target, settings, topic, kept, said))
            ways = [settings.backlog_way(topic, each.partition) for each in found[-1].partitions]
            found += await _backlog_status(source, target, ways, kept, said)
    stored_ms = max((record.timestamp_ms for record in kept.values()), default=None)
    return LinkStatus(
        settings.site, found, stored_ms, is_running(found, stored_ms, settings.position_interval_s, now_ms())
    )


def is_running(topics: list[TopicStatus], stored_ms: int | None, interval_s: float, at_ms: int) -> bool | None:
    """Whether a replicator ships what waits, by the age of its last word: see `LinkStatus`."""
    if not any(each.lag_records > each.undecided for topic in topics for each in topic.partitions):
        return None
    return stored_ms is not None and at_ms - stored_ms < _SILENT_INTERVALS * interval_s * 1000


async def stored(target: Cluster, site: str) -> Kept:
    """What the link has stored of itself; nothing where it never ran."""
    try:
        return await read_compacted(target, positions(site).name, 0)
    except BadInput:
        return {}


def position_in(kept: Kept, topic: str, partition: int) -> Position | None:
    """A partition's stored position."""
    record = kept.get(position_key(topic, partition))
    return decode(record.value, Position, f"the position of {topic}[{partition}]") if record else None


def gaps_in(kept: Kept, topic: str) -> list[Gap]:
    """Recorded gaps of a topic, by partition and era; without what was set aside, which is not lost."""
    prefix = f"{GAP_PREFIX}{topic}/".encode()
    found = [decode(record.value, Gap, f"a gap of {topic}") for key, record in kept.items() if key.startswith(prefix)]
    return sorted((gap for gap in found if gap.cause != DEFERRED), key=lambda gap: (gap.partition, gap.era))


async def _topic_status(
    source: Cluster, target: Cluster, settings: ReplicatorSettings, topic: str, kept: Kept, said: list[Notice]
) -> TopicStatus:
    name = settings.names.remote(topic)
    try:
        spec = await targets.spec_at_source(source, topic)
    except Unreachable:
        raise
    except Transient:
        return TopicStatus(topic, name, "", [], gaps_in(kept, topic))
    except Refused as error:  # one that may not be looked at does not hide the others
        return TopicStatus(topic, name, "", [_refused(topic, kept, said, error)], gaps_in(kept, topic))
    firsts, ends = await source.offsets(topic, "earliest"), await source.offsets(topic, "latest")
    try:
        arrived, limits = await target.offsets(name, "latest"), await losses.limits_of(target, name)
    except BadInput:
        arrived, limits = {}, Limits()
    compacted = "source" if targets.is_compacted(spec) else "target" if limits.compacted else ""
    stands = [position_in(kept, topic, partition) for partition in range(spec.partitions)]
    engine, why = engine_of(settings, topic, compacted, stands)
    found = []
    for partition, position in enumerate(stands):
        log, has = (firsts[partition], ends[partition]), arrived.get(partition)
        way, by_number = settings.way(topic, partition), losses.by_number(kept, topic, partition, engine)
        each = await _partition_status((source, target), way, log, has, position, by_number=by_number)
        each = msgspec.structs.replace(each, safe_to_delete=safe_offset(kept, topic, partition))
        found.append(losses.told(each, topic, kept, said, limits.retention_ms))
    differ = await drift(source, target, topic, name) if arrived else {}
    return TopicStatus(topic, name, engine, found, gaps_in(kept, topic), why, differ)


async def _backlog_status(
    source: Cluster, target: Cluster, ways: list[Way], kept: Kept, said: list[Notice]
) -> list[TopicStatus]:
    """What was set aside of a topic, as a topic; none where nothing ever was."""
    found = []
    for way in ways:
        stands = await standing(source, target, way, kept)
        if stands is None:
            continue
        lag_s = 0.0 if stands.oldest_ms is None else max(0.0, (now_ms() - stands.oldest_ms) / 1000)
        state = "behind" if stands.waits else "up to date"
        each = PartitionStatus(way.partition, state, stands.shipped, stands.waits, lag_s, None)
        limits = await losses.limits_of(target, way.target) if stands.shipped else Limits()
        found.append(losses.told(each, way.ledger, kept, said, limits.retention_ms))
    if not found:
        return []
    ledger = ways[0].ledger
    return [TopicStatus(ledger, ways[0].target, "batch", found, gaps_in(kept, ledger))]


def _refused(topic: str, kept: Kept, said: list[Notice], error: Refused) -> PartitionStatus:
    """All partitions of a topic that may not be looked at, by what the link has said of it."""
    nothing = PartitionStatus(0, "halted", 0, 0, 0.0, None)
    found = losses.told(nothing, topic, kept, said, NO_LIMIT)
    if found.halted:
        return found
    return msgspec.structs.replace(found, state="halted", halted=str(error), hint=error.hint, exit_code=error.exit_code)


async def _partition_status(
    ends: tuple[Cluster, Cluster],
    way: Way,
    log: tuple[int, int],
    arrived: int | None,
    position: Position | None,
    *,
    by_number: bool,
) -> PartitionStatus:
    first, end = log
    if position is None or (arrived is None and not position.target_next):
        return PartitionStatus(way.partition, "not started", arrived or 0, end - first, 0.0, None)
    lost = max(position.target_next - (arrived or 0), 0)
    at = await waits.reached(ends[1], way, position, arrived or 0, by_number=by_number)
    missing = (at, first) if at < first else None
    found = await waits.waiting(ends[0], way, max(at, first), end)
    lag_s = 0.0 if found.since_ms is None else max(0.0, (now_ms() - found.since_ms) / 1000)
    state = "records missing" if missing or lost else "behind" if found.offsets else "up to date"
    return PartitionStatus(
        way.partition, state, arrived or 0, found.offsets, lag_s, missing, lost=lost, undecided=found.undecided
    )
