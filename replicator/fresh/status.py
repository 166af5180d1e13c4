"""How far the backlog of a partition is, asked of both clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from headwater.contract.errors import BadInput, Transient
from headwater.transport.kafka_batch import Cluster, Record
from replicator.fresh.aside import Aside, aside_key, unproven_from
from replicator.fresh.looking import oldest_ms
from replicator.position import Position, decode, position_key
from replicator.proof.entry import HEAD_PREFIX, Head, head_key
from replicator.way import BACKLOG, Way

Kept = Mapping[bytes, Record]


class Standing(NamedTuple):
    """`shipped` records are at the target; `waits` source offsets are not, the oldest from `oldest_ms` (None: none)."""

    shipped: int
    waits: int
    oldest_ms: int | None


def aside_of(kept: Kept, topic: str, partition: int) -> Aside | None:
    """What was set aside of a partition; None where nothing ever was."""
    record = kept.get(aside_key(topic, partition))
    return record and decode(record.value, Aside, f"what was set aside of {topic}[{partition}]")


def backlog_position(kept: Kept, topic: str, partition: int) -> Position | None:
    """The stored position of the backlog of a partition."""
    record = kept.get(position_key(topic + BACKLOG, partition))
    return record and decode(record.value, Position, f"the position of the backlog of {topic}[{partition}]")


def floor_of(kept: Kept, topic: str, partition: int) -> int | None:
    """First source offset of a partition that is set aside and not proven at the target; None: there is none."""
    aside = aside_of(kept, topic, partition)
    if aside is None:
        return None
    record = kept.get(head_key(topic + BACKLOG, partition))
    proven = record and decode(record.value, Head, f"{HEAD_PREFIX.decode()}{topic}{BACKLOG}/{partition}")
    return unproven_from(aside, backlog_position(kept, topic, partition), proven)


async def standing(source: Cluster, target: Cluster, way: Way, kept: Kept) -> Standing | None:
    """How far the backlog of a partition is; None where nothing was ever set aside. Transient: a cluster is away."""
    aside = aside_of(kept, way.topic, way.partition)
    if aside is None:
        return None
    position = backlog_position(kept, way.topic, way.partition)
    try:
        arrived = (await target.offsets(way.target, "latest")).get(way.partition, 0)
    except (BadInput, Transient):  # made when the first range is begun
        arrived = 0
    at = position.source_next + max(0, arrived - position.target_next) if position and aside.shipping else 0
    spans = [(max(each.first, min(at, each.end)), each.end) for each in aside.ranges]
    waits = sum(end - first for first, end in spans)
    oldest = await oldest_ms(source, way, spans[0][0]) if waits else None
    return Standing(arrived, waits, oldest)
