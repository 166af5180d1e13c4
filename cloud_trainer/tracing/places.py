"""Records by where they stand, and the search for those of which only the edge's offset is known.

The replicator does not promise that a record has the same offset in the cloud: markers of transactions take offsets at
the edge and none in the cloud, and what retention took before it was shipped shifts the rest. What leads from a score
to its readings is therefore what both clusters have: the asset, and the sensor times of the window's two ends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from headwater.contract import headers
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.errors import BadInput, DataMissing
from headwater.transport.kafka_batch import Cluster, Record
from headwater.transport.kafka_batch.reading import checked_records, walk

_STEP = 2_000  # offsets that are read at first
_WIDER = 4


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        """As people write it."""
        return f"{self.topic}:{self.partition}:{self.offset}"


def place_of(text: str) -> Place | None:
    """`lyon.alarms:0:17` as a place; None for what is not one, such as the id of an episode."""
    parts = text.rsplit(":", 2)
    if len(parts) == 3 and parts[0] and parts[1].isdecimal() and parts[2].isdecimal():
        return Place(parts[0], int(parts[1]), int(parts[2]))
    return None


async def bounds(cluster: Cluster, topic: str, partition: int) -> tuple[int, int]:
    """First offset that is kept, and the end; BadInput where the partition does not exist."""
    count = await cluster.partitions(topic)
    if partition >= count:
        raise BadInput(f"there is no partition {topic}[{partition}], the topic has {count}")
    first, end = await cluster.offsets(topic, "earliest"), await cluster.offsets(topic, "latest")
    return first[partition], end[partition]


async def records(cluster: Cluster, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Record]:
    """Every data record with an offset in [start, end); gaps are passed."""
    async for batch, is_data in walk(cluster, topic, partition, start, end):
        for record in checked_records(topic, partition, batch) if is_data else ():
            if start <= record.offset < end:
                yield record


async def at(cluster: Cluster, place: Place) -> Record:
    """The record at a place; DataMissing where it is gone, or where a marker stands there."""
    first, end = await bounds(cluster, place.topic, place.partition)
    if first <= place.offset < end:
        async for record in records(cluster, place.topic, place.partition, place.offset, place.offset + 1):
            return record
    raise DataMissing(
        f"there is no record at {place}: the log holds {first} to {end - 1}",
        hint="retention took it, or this is another cluster (trainer.kafka.brokers)",
    )


async def by_source(cluster: Cluster, topic: str, partition: int, source: int) -> Record | None:
    """The record of a scorer's topic whose `hw-source-offset` is `source`: found by halves, as these only grow.

    Where they do not (a topic that was made anew at the edge), everything is looked at.
    """
    first, end = await bounds(cluster, topic, partition)
    low, high = first, end
    while high - low > _STEP:
        middle = (low + high) // 2
        record = await _next(cluster, topic, partition, middle, high)
        found = headers.find_number(record.headers, headers.SOURCE_OFFSET) if record else None
        if record is None or found is None or found > source:
            high = middle
        else:
            low = middle
    for start, stop in ((low, high), (first, low), (high, end)):
        async for record in records(cluster, topic, partition, start, stop):
            if headers.find_number(record.headers, headers.SOURCE_OFFSET) == source:
                return record
    return None


async def _next(cluster: Cluster, topic: str, partition: int, start: int, end: int) -> Record | None:
    async for record in records(cluster, topic, partition, start, end):
        return record
    return None


async def before(cluster: Cluster, topic: str, partition: int, end: int, asset: str, count: int) -> list[Arrival]:
    """The last `count` usable readings of an asset before `end`, in log order; fewer where the log begins."""
    return await last(cluster, topic, partition, end, lambda one: one.asset == asset, count)


async def last(
    cluster: Cluster, topic: str, partition: int, end: int, is_it: Callable[[Arrival], bool], count: int
) -> list[Arrival]:
    """The last `count` readings before `end` of which `is_it` holds, in log order; fewer where the log begins."""
    first, _ = await bounds(cluster, topic, partition)
    low, step, found = end, _STEP, list[Arrival]()
    while len(found) < count and low > first:
        start = max(first, low - step)
        piece = [a async for a in arrivals(cluster, topic, partition, start, low) if is_it(a)]
        found, low, step = piece + found, start, step * _WIDER
    return found[-count:]


async def arrivals(cluster: Cluster, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Arrival]:
    """The usable readings in [start, end)."""
    async for record in records(cluster, topic, partition, start, end):
        try:
            yield arrival(record.offset, record.key, record.value, record.headers)
        except Unusable:
            continue  # it became a dead letter at the edge


async def steps(cluster: Cluster, topic: str, partition: int, guess: int) -> AsyncIterator[tuple[int, int]]:
    """Ranges [start, end) that cover a partition: from `guess` backwards in growing steps, then from there to the end.

    Offsets in the cloud are seldom higher than those of the edge.
    """
    first, end = await bounds(cluster, topic, partition)
    high, step = min(max(guess + 1, first), end), _STEP
    rest = high
    while high > first:
        start = max(first, high - step)
        yield start, high
        high, step = start, step * _WIDER
    low, step = rest, _STEP
    while low < end:
        yield low, min(low + step, end)
        low, step = low + step, step * _WIDER


async def search(
    cluster: Cluster, topic: str, partition: int, guess: int, is_it: Callable[[Arrival], bool]
) -> AsyncIterator[Arrival]:
    """The readings of which `is_it` holds: from `guess` backwards, then from there to the end."""
    async for start, end in steps(cluster, topic, partition, guess):
        piece = [a async for a in arrivals(cluster, topic, partition, start, end) if is_it(a)]
        for found in reversed(piece) if start <= guess else piece:
            yield found
