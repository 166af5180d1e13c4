"""Reading readings again, to fill windows and lives after a swap to other features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headwater.contract import topics
from headwater.contract.arrival import Unusable
from headwater.contract.overhaul import Came, came
from headwater.contract.windows import Recent
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import checked_records, walk

_FIRST_STEP = 2_000


class Rewound(NamedTuple):
    """Readings and overhauls of a partition in [start, end), each asset's in log order; only its last ones."""

    start: int
    arrivals: list[Came]


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


async def rewind_lives(cluster: Cluster, number: int, end: int, most: int) -> Rewound:
    """All readings of the last `most` offsets before `end`, or since the start of the log: lives have no length."""
    start = max((await cluster.offsets(topics.READINGS, "earliest"))[number], end - most)
    return Rewound(start, await read_again(cluster, number, start, end))


async def read_again(cluster: Cluster, number: int, start: int, end: int) -> list[Came]:
    """The readings of each asset in [start, end) and its last overhaul, less what the log has dropped meanwhile."""
    first = (await cluster.offsets(topics.READINGS, "earliest"))[number]
    recent = await _recent(cluster, number, min(max(start, first), end), end, end - start)
    return recent.since(start)


async def _recent(cluster: Cluster, number: int, start: int, end: int, most: int) -> Recent:
    recent = Recent(most)
    async for batch, is_data in walk(cluster, topics.READINGS, number, start, end):
        for record in checked_records(topics.READINGS, number, batch) if is_data else ():
            if start <= record.offset < end:
                try:
                    recent.add(came(record.offset, record.key, record.value, record.headers))
                except Unusable:
                    continue  # it is, or will be, a dead letter
    return recent
