"""What a running link writes for MirrorMaker 2's tools and for consumers that move (records: formats.py).

| topic | where | when |
|---|---|---|
| `heartbeats` | source, and shipped like any topic | every few seconds |
| `mm2-offset-syncs.<target>.internal` | source; or target, with the source's name | what moved, with the checkpoints |
| `<source>.checkpoints.internal` | target | a group that moved, or of which more was shipped |
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from headwater.contract.errors import Defect, Fenced, HeadwaterError, Permanent
from headwater.transport.kafka_batch import Cluster
from headwater.transport.retry import Voice
from replicator.engine import now_ms
from replicator.mm2.cycles import Guard
from replicator.mm2.follow import Follower
from replicator.mm2.formats import Heartbeat
from replicator.mm2.naming import HEARTBEATS, Naming
from replicator.mm2.plain import PlainTopic
from replicator.mm2.refresh import Refresh
from replicator.opening import Topics
from replicator.settings import ReplicatorSettings
from replicator.sharing.shares import Held

if TYPE_CHECKING:
    from replicator.metrics import Metrics

_log = structlog.get_logger(__name__)


class _Work(Protocol):
    async def prepare(self) -> None: ...

    async def step(self) -> None: ...

    async def close(self) -> None: ...


def works(
    settings: ReplicatorSettings,
    source: Cluster,
    target: Cluster,
    topics: Topics,
    guard: Guard | None,
    metrics: Metrics | None,
    held: Held | None = None,
    former: Held = (),
) -> list[Coroutine[Any, Any, None]]:
    """What is to be done beside a link, each until it is cancelled: changes, circles, heartbeats, groups.

    What cannot be done now is logged and tried again, and the link goes on. Fenced: another life has begun. Refused: a
    topic goes round in circles. `held`: the shares of this instance, where several share the link; `former`: the shares
    of those who shared it before.
    """
    mm2, flows = settings.mm2, topics.flows
    found = [Refresh(settings, source, target, topics).run(metrics)]
    if guard is not None:
        found.append(guard.run())
    if mm2.publish:
        found.append(_again("heartbeats", _Heartbeats(source, settings.names), mm2.heartbeat_interval_s))
    if mm2.publish or mm2.sync_group_offsets:
        follower = Follower(settings, source, target, flows, held, topics.beside, former, metrics)
        found.append(_again("groups", follower, mm2.checkpoint_interval_s))
    return found


async def _again(what: str, work: _Work, interval_s: float) -> None:
    voice, prepared = Voice(), False
    try:
        while True:
            try:
                if not prepared:
                    await work.prepare()
                    prepared = True
                await work.step()
            except (Fenced, Defect):
                raise
            except HeadwaterError as error:
                prepared = prepared and not isinstance(error, Permanent)
                if voice.says(str(error)):
                    _log.warning("trying again", what=what, why=str(error), hint=error.hint)
            else:
                voice.waited_s()
            await asyncio.sleep(interval_s)
    finally:
        await work.close()


class _Heartbeats:
    """Names the way back, from the target to the source, as MirrorMaker writes it at the source of a flow."""

    def __init__(self, source: Cluster, names: Naming) -> None:
        self._topic = PlainTopic(source, HEARTBEATS)
        self._names = names

    async def prepare(self) -> None:
        await self._topic.make()

    async def step(self) -> None:
        beat = Heartbeat(self._names.target, self._names.source, now_ms())
        await self._topic.write([(beat.key, beat.value)])

    async def close(self) -> None:
        """Nothing is held."""
