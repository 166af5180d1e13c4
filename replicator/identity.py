"""Is it still the same topic? A link that does not fetch for a while would not see that it was made again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog

from headwater.contract.errors import Permanent, Transient
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.calls import TopicPartition
from headwater.transport.kafka_batch.topic_ids import topic_ids
from replicator.flow import Flow

_log = structlog.get_logger(__name__)
_EVERY_S = 2.0
_LONG_S = 0.05  # in less nobody deletes a topic, makes it again and fills it as far as it was


async def watch(source: Cluster, flows: Mapping[str, Sequence[Flow]], every_s: float = _EVERY_S) -> None:
    """Have partitions anchor whose topic has another id than the one that they ship. Trouble is left to the fetches.

    A fetch names a topic and not its id: while one is under way, its error tells that the topic was deleted; between
    two of them, only this does.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            found = await topic_ids(source, list(flows))
        except (Transient, Permanent):
            continue
        for topic, now in found.items():
            for flow in flows.get(topic, ()):
                if flow.next_offset is None or flow.paused:  # it anchors before it goes on, or is looked at then
                    continue
                position = flow.engine.position
                if position is not None and position.source_id and position.source_id != now:
                    _log.warning("the topic was made again", way=str(flow.engine.way), was=position.source_id, now=now)
                    flow.lost_sight()


class Unwatched:
    """Which partitions were not fetched for a moment: what comes of them then may be of another topic.

    While a fetch waits at a broker, the end of a topic ends it with an error. Between two of them nothing would tell:
    the new topic may have records at the offset that is asked for.
    """

    def __init__(self) -> None:
        self._before: frozenset[TopicPartition] = frozenset()
        self._left: dict[TopicPartition, float] = {}

    def rejoin(self, pairs: Iterable[TopicPartition], now: float) -> set[TopicPartition]:
        """Which of those that are fetched now were not in the moment before; `now` is in seconds of one clock."""
        asked = frozenset(pairs)
        for pair in self._before - asked:
            self._left[pair] = now
        self._before, joined = asked, asked - self._before
        return {pair for pair in joined if now - self._left.pop(pair, -_LONG_S) >= _LONG_S}


async def others(source: Cluster, flows: Mapping[TopicPartition, Flow]) -> set[TopicPartition]:
    """Those whose topic is not the one any more that they ship, asked behind a fetch; all where nobody answers.

    What was fetched may then be of another topic: they anchor again, which asks for the id before anything is shipped
    and waits, in growing pauses, for whoever answers.
    """
    shipped = {pair: flow.engine.position.source_id for pair, flow in flows.items() if flow.engine.position}
    known = {pair: each for pair, each in shipped.items() if each}
    if not known:
        return set()
    try:
        now = await topic_ids(source, sorted({topic for topic, _ in known}))
    except (Transient, Permanent):
        return set(known)
    return {pair for pair, each in known.items() if now.get(pair[0]) != each}
