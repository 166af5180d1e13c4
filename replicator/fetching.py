"""What a link reads of its source: one stream of fetches for all partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog

from headwater.contract.errors import Transient
from headwater.transport.kafka_batch import Cluster
from headwater.transport.retry import Voice, pauses
from replicator.flow import Flow
from replicator.identity import Unwatched, others
from replicator.settings import ReplicatorSettings

_log = structlog.get_logger(__name__)
_FULL_WAIT_MS = 20
_ANCHORING_WAIT_MS = 100


async def fetch_for(
    flows: Sequence[Flow], source: Cluster, settings: ReplicatorSettings, wanted: asyncio.Event
) -> None:
    """One long poll for all that want more, each in turn at the front: the first gets its bytes. Until cancelled.

    `flows` may grow meanwhile; `wanted` is set when one of them wants more.
    """
    rest, voice, unwatched = pauses(), Voice(), Unwatched()
    turn = 0
    while True:
        hungry = [flow for flow in flows if flow.hungry]
        if not hungry:
            wanted.clear()
            unwatched.rejoin((), time.monotonic())
            await wanted.wait()
            continue
        turn = (turn + 1) % len(hungry)
        asked = {(flow.engine.way.topic, flow.engine.way.partition): flow for flow in hungry[turn:] + hungry[:turn]}
        offsets = {pair: flow.next_offset or 0 for pair, flow in asked.items()}
        joined = unwatched.rejoin(asked, time.monotonic())
        try:
            fetched = await source.fetch(
                offsets,
                max_wait_ms=_patience_ms(flows, int(settings.fetch_wait_s * 1000)),
                max_bytes=settings.fetch_bytes,
                partition_max_bytes=settings.partition_fetch_bytes,
                read_committed=True,
            )
        except Transient as error:
            if voice.says(str(error)):
                _log.warning("fetching again", site=settings.site, why=str(error))
            for flow in hungry:
                flow.lost_sight()
            await asyncio.sleep(next(rest))
            continue
        rest = pauses()
        voice.waited_s()
        gone = await others(source, {pair: asked[pair] for pair in joined}) if joined else ()
        for part in fetched:
            pair = (part.topic, part.partition)
            if pair in gone:
                asked[pair].lost_sight()
            else:
                asked[pair].take(offsets[pair], part)


def _patience_ms(flows: Sequence[Flow], most: int) -> int:
    """How long a fetch may wait: a partition that is left out of it must not wait for the others."""
    if any(flow.full for flow in flows):
        return min(most, _FULL_WAIT_MS)
    anchoring = any(flow.next_offset is None and flow.halted is None for flow in flows)
    return min(most, _ANCHORING_WAIT_MS) if anchoring else most
