"""What of a partition waits at the source, seen from outside: where the link is, and what comes behind that."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import NamedTuple

from headwater.contract import headers
from headwater.contract.errors import Permanent
from headwater.transport.kafka_batch import Cluster, read_tail
from headwater.transport.kafka_batch.batches import batches
from headwater.transport.kafka_batch.reading import walk
from replicator import logs
from replicator.position import Position
from replicator.way import Way


class Waits(NamedTuple):
    """`offsets` wait, the oldest since `since_ms` (ms since 1970; None: unknown, or nothing waits).

    `undecided` of them are behind the begin of an open transaction: nobody may read them yet.
    """

    offsets: int
    since_ms: int | None
    undecided: int


_NOTHING = Waits(0, None, 0)


async def reached(target: Cluster, way: Way, position: Position, arrived: int, *, by_number: bool) -> int:
    """Source offset behind what is at the target, which ends at `arrived` now and may be ahead of the stored position.

    `by_number`: what has arrived since is so many records. Else it holds what each life writes for itself, too
    (fence.py), and the last record says its source offset.
    """
    if arrived <= position.target_next:
        return position.source_next
    if by_number:
        return position.source_next + arrived - position.target_next
    with suppress(Permanent):  # whoever ships it says what is wrong there
        for last in await read_tail(target, way.target, way.partition, 1, end=arrived):
            if last.offset >= position.target_next:  # else it may be of the log that the source had before
                at = headers.find_number(last.headers, headers.SOURCE_OFFSET)
                return position.source_next if at is None else max(position.source_next, at + 1)
    return position.source_next


async def waiting(source: Cluster, way: Way, at: int, end: int) -> Waits:
    """What waits between two source offsets. Markers and aborted records wait for nobody, where nothing else is left.

    Transient: the source does not answer.
    """
    if at >= end:
        return _NOTHING
    decided = max(at, await logs.decided_to(source, way.topic, way.partition, end))
    since = await _first_ms(source, way, at, decided)
    if since is not None:
        return Waits(end - at, since, end - decided)
    if decided < end:
        return Waits(end - decided, await _open_ms(source, way, decided), end - decided)
    return _NOTHING


async def _first_ms(source: Cluster, way: Way, at: int, end: int) -> int | None:
    """Time of the first data batch between two offsets, or None if only markers are left."""
    if at >= end:
        return None
    async with aclosing(walk(source, way.topic, way.partition, at, end)) as walked:
        async for batch, is_data in walked:
            if is_data:
                return batch.base_timestamp
    return None


async def _open_ms(source: Cluster, way: Way, at: int) -> int | None:
    """Time of the batch that an open transaction begins with."""
    (part,) = await source.fetch({(way.topic, way.partition): at}, max_wait_ms=1, max_bytes=1, partition_max_bytes=1)
    with suppress(Permanent):  # whoever ships it says what is wrong there
        return next((batch.base_timestamp for batch in batches(part.data)), None)
    return None
