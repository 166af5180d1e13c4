"""Reading back as far as a redelivery can reach: the last 4 R sequences of the session (recogniser.py says why)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from edge_agent.bridge.recogniser import Mark, Recogniser, mark_of
from headwater.transport.kafka_batch import Cluster, Record, TopicPartition
from headwater.transport.kafka_batch.reading import read_tail_as
from headwater.transport.retry import retrying

_FIRST = 5  # times R records of a topic: a little more than 4 R sequences, for partitions differ
_MOST = 16  # times R records a partition: others write to dead-letters too


class Seen(NamedTuple):
    """What is kept of a record: a tail of whole ones would be tens of MB."""

    offset: int
    timestamp_ms: int
    mark: Mark | None  # None: it is not ours
    record: Record | None  # only where it was asked for


Tails = dict[TopicPartition, list[Seen]]


async def learn(
    cluster: Cluster, ends: Mapping[TopicPartition, int], recogniser: Recogniser, most: int, *, whole: bool
) -> Tails:
    """Read the tails before `ends` and let the recogniser learn from them; `most` is R. Waits for a broker.

    `whole`: return our records, not only learn where they came from.
    """

    def seen(record: Record) -> Seen:
        mark = mark_of(record, recogniser.client_id)
        return Seen(record.offset, record.timestamp_ms, mark, record if whole and mark is not None else None)

    shares = Counter(topic for topic, _ in ends)
    asked = first = {(topic, partition): round(_FIRST * most / shares[topic]) for topic, partition in ends}
    tails: Tails = {}
    whole_logs: set[TopicPartition] = set()
    while asked:
        for (topic, partition), count in asked.items():
            tails[topic, partition] = await _tail(seen, cluster, topic, partition, count, ends[topic, partition])
            if len(tails[topic, partition]) < count:
                whole_logs.add((topic, partition))
        asked = {pair: 2 * len(tails[pair]) for pair in _short(tails, most) if pair not in whole_logs}
        if any(count > _MOST * most for count in asked.values()):
            recogniser.doubt = f"what this bridge wrote lies behind {_MOST * most} records of others"
            break
    if await _is_cut(cluster, tails, _short(tails, most)):
        recogniser.doubt = "retention has removed records that a redelivery could repeat"
    marked = any(each.mark is not None for tail in tails.values() for each in tail)
    recogniser.buried = not marked and any(len(tail) >= first[pair] for pair, tail in tails.items())
    recogniser.learn(each.mark for tail in tails.values() for each in tail if each.mark is not None)
    return tails if whole else {}


def _short(tails: Tails, most: int) -> list[TopicPartition]:
    """Partitions whose tail may not reach back far enough."""
    marks = {
        pair: [(each.mark, each.timestamp_ms) for each in tail if each.mark is not None] for pair, tail in tails.items()
    }
    newest = max((mark[:2] for found in marks.values() for mark, _ in found), default=None)
    if newest is None:
        return []
    floor = (newest[0], newest[1] - 4 * most)
    since = min(stamp for found in marks.values() for mark, stamp in found if mark[:2] >= floor)
    return [
        pair
        for pair, tail in tails.items()
        if tail and all(mark[:2] > floor for mark, _ in marks[pair]) and tail[0].timestamp_ms >= since
    ]


async def _is_cut(cluster: Cluster, tails: Tails, short: list[TopicPartition]) -> bool:
    for topic, partition in short:
        first = await retrying(f"asking for the start of {topic}", partial(cluster.offsets, topic, "earliest"))
        if 0 < first[partition] >= tails[topic, partition][0].offset:
            return True
    return False


async def _tail(
    seen: Callable[[Record], Seen], cluster: Cluster, topic: str, partition: int, count: int, end: int
) -> list[Seen]:
    return await retrying(
        f"reading the tail of {topic}[{partition}]",
        lambda: read_tail_as(seen, cluster, topic, partition, count, end=end),
    )
