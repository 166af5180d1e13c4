"""Reading readings again, to fill windows after a swap to other features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headwater.contract import topics
from headwater.contract.arrival import Arrival, Unusable, arrival
from headwater.contract.windows import Recent
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import checked_records, walk

_LONGEST_WINDOW = 10_000  # FeatureSpec.check
_FIRST_STEP = 2_000


class Rewound(NamedTuple):
    """Readings of a partition in [start, end), each asset's in log order; only the last ones of each asset."""

    start: int
    arrivals: list[Arrival]


async def rewind(cluster: Cluster, number: int, end: int, assets: Iterable[str], enough: int, most: int) -> Rewound:
    """Go back from `end` until each asset has `enough` readings, at most `most` offsets or to the start of the log."""
    first = max((await cluster.offsets(topics.READINGS, "earliest"))[number], end - most)
    known = set(assets)
    step = _FIRST_STEP
    while True:
        start = max(first, end - step)
        recent = await _recent(cluster, number, start, end, enough)
        if start <= first or not recent.short(known, enough):
            return Rewound(start, recent.since(start))
        step *= 4


async def read_again(cluster: Cluster, number: int, start: int, end: int) -> list[Arrival]:
    """The last readings of each asset in [start, end), less what the log has dropped meanwhile."""
    first = (await cluster.offsets(topics.READINGS, "earliest"))[number]
    recent = await _recent(cluster, number, min(max(start, first), end), end, _LONGEST_WINDOW)
    return recent.since(start)


async def _recent(cluster: Cluster, number: int, start: int, end: int, most: int) -> Recent:
    recent = Recent(most)
    async for batch, is_data in walk(cluster, topics.READINGS, number, start, end):
        for record in checked_records(topics.READINGS, number, batch) if is_data else ():
            if start <= record.offset < end:
                try:
                    recent.add(arrival(record.offset, record.key, record.value, record.headers))
                except Unusable:
                    continue  # it is, or will be, a dead letter
    return recent
