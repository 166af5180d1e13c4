"""Is it still the same topic? A link that does not fetch for a while would not see that it was made again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from headwater.contract.errors import Permanent, Transient
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.topic_ids import topic_ids
from replicator.flow import Flow

_log = structlog.get_logger(__name__)
_EVERY_S = 2.0


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
