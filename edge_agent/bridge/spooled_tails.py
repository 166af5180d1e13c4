"""Which messages of the spool Kafka has already: what a former life, fenced off by now, has written.

Each record names its position in the spool. The drainer is never more than WINDOW positions ahead of the first that
is not safe in Kafka, so if `last` is the highest position there, all up to `last` - WINDOW are done, and it is enough
to read each partition back that far. Which of the rest are there is taken from the records themselves and not from
the partitions that the routes name: routes may have changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from headwater.contract import headers
from headwater.transport.kafka_batch import Cluster, Record, TopicPartition, read_tail
from headwater.transport.retry import retrying

WINDOW = 8192  # messages
_FIRST = 256  # records
_MOST = 16 * WINDOW  # records a partition: others write to dead-letters too


@dataclass
class Done:
    """What Kafka has. `doubt` says why a position below `doubtful` that is not in it may have been written even so."""

    last: int = -1
    whole: set[int] = field(default_factory=set)  # positions from `last` - WINDOW on of which every record is there
    partly: dict[int, set[int]] = field(default_factory=dict)  # position: the records of it that are there
    doubt: str = ""
    doubtful: int = 0

    def missing(self, start: int, end: int) -> int:
        """How many positions from `start` up to `end` are not whole there."""
        return max(0, end - start) - sum(start <= position < end for position in self.whole)


async def done(cluster: Cluster, ends: Mapping[TopicPartition, int], spool_id: str, oldest: int, newest: int) -> Done:
    """What of the positions from `oldest` up to `newest` is in the partitions before `ends`. Waits for a broker."""
    found = Done()
    if newest == 0:
        return found  # a spool that was never used
    own = bytes.fromhex(spool_id)
    tails = {pair: await _tail(cluster, *pair, _FIRST, end) for pair, end in ends.items()}
    found.last = max((at for tail in tails.values() for at, _, _ in _of(tail, own)), default=-1)
    floor = max(oldest, found.last + 1 - WINDOW)
    for pair, tail in tails.items():
        count, records = _FIRST, tail
        while len(records) == count and not _reaches(records, own, floor):
            if count >= _MOST:
                found.doubt = f"what came through the spool lies behind {_MOST} records of others"
                break
            count *= 4
            records = await _tail(cluster, *pair, count, ends[pair])
        if len(records) < count and await _is_cut(cluster, pair) and not _reaches(records, own, floor):
            found.doubt = "retention has removed records that the spool may hold"
        for at, part, parts in _of(records, own):
            _note(found, at, part, parts, floor)
    if found.doubt:
        found.doubtful = found.last + 1 if found.last >= 0 else newest
    return found


def _reaches(records: list[Record], own: bytes, floor: int) -> bool:
    """Whether what comes before these records is of no interest."""
    if not records:
        return False
    first = next(iter(_of(records[:1], own)), None)
    if first is not None:
        return first[0] < floor
    # One life after another wrote here, and the spool is new with the first that used it.
    return headers.find(records[0].headers, headers.SESSION) is not None


def _note(found: Done, at: int, part: int, parts: int, floor: int) -> None:
    found.last = max(found.last, at)
    if at < floor or at in found.whole:
        return
    there = found.partly.setdefault(at, set())
    there.add(part)
    if len(there) >= parts:
        found.whole.add(at)
        del found.partly[at]


def _of(records: list[Record], own: bytes) -> Iterator[tuple[int, int, int]]:
    """Position, part and number of parts of the records that came through this spool."""
    for record in records:
        place = headers.find(record.headers, headers.SPOOL)
        if place is not None and place.startswith(own) and len(place) == len(own) + 8:
            part = headers.find_number(record.headers, headers.PART) or 0
            parts = headers.find_number(record.headers, headers.PARTS) or 1
            yield int.from_bytes(place[len(own) :], "big"), part, parts


async def _is_cut(cluster: Cluster, pair: TopicPartition) -> bool:
    topic, partition = pair
    first = await retrying(f"asking for the start of {topic}", partial(cluster.offsets, topic, "earliest"))
    return first[partition] > 0


async def _tail(cluster: Cluster, topic: str, partition: int, count: int, end: int) -> list[Record]:
    return await retrying(
        f"reading the tail of {topic}[{partition}]", lambda: read_tail(cluster, topic, partition, count, end=end)
    )
