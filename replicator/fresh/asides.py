"""The backlogs of one link: their flows, the stream of fetches that they share, and who looks after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog

from headwater.contract.errors import DataMissing, Defect, Fenced, Permanent, Transient
from headwater.transport.kafka_batch import Cluster, SetBack
from headwater.transport.retry import Voice, retrying
from replicator import identity, targets
from replicator.engine import Ends, Engine, unfetched
from replicator.fetching import fetch_for
from replicator.flow import Flow
from replicator.fresh.aside import Aside, aside_key, unproven_from
from replicator.fresh.backlog import Backlog
from replicator.fresh.flow import BacklogFlow
from replicator.position import decode
from replicator.proof.entry import Head
from replicator.settings import ReplicatorSettings
from replicator.way import Way

_log = structlog.get_logger(__name__)
_LOOK_S = 0.2


class Asides:
    """Of one life of a link. `spawn` has work done beside it, for a flow or for none."""

    def __init__(self, settings: ReplicatorSettings, spawn: Callable[..., object], source: Cluster) -> None:
        self.flows: list[BacklogFlow] = []
        self.wanted = asyncio.Event()
        self._settings = settings
        self._spawn = spawn
        self._source = source
        self._backlogs: dict[Way, Backlog] = {}
        self._live: dict[Way, Flow] = {}
        self._beside: dict[Way, BacklogFlow] = {}
        self._topics: dict[str, list[Flow]] = {}
        self._voice = Voice()

    @property
    def halted(self) -> list[Permanent]:
        """Why backlogs stand still."""
        return [flow.halted for flow in self.flows if flow.halted is not None]

    def engine(self, way: Way, ends: Ends) -> Engine | None:
        """The engine of a partition that ships what is new first, or has a backlog that is not shipped yet."""
        fresh = self._settings.link.fresh_first
        stored = ends.journal.kept(aside_key(way.topic, way.partition))
        left = stored is not None and bool(decode(stored, Aside, f"what was set aside of {way}").ranges)
        if not left and not fresh.has(way.topic):
            return None
        beside = self._settings.backlog_way(way.topic, way.partition)
        make = partial(_make_target, ends, beside, self._settings.replication_factor)
        wanted = fresh if fresh.has(way.topic) else None
        backlog = self._backlogs[way] = Backlog(way, beside, ends, wanted, make)
        return backlog.fresh

    def start(
        self,
        live: Flow,
        ends: Ends,
        opened: Callable[[Engine], None],
        begun: Callable[[Flow, Sequence[Flow]], None],
    ) -> None:
        """Ship the backlog of a live stream, if it has one.

        `opened` is told of its engine at once; `begun` of its flow when the first range is shipped, and of the flows of
        all backlogs of the topic.
        """
        backlog = self._backlogs.get(live.engine.way)
        if backlog is None or backlog.fresh is not live.engine:
            return
        first = not self.flows
        flow = BacklogFlow(
            backlog.engine,
            self._settings.backlog_bytes,
            self.wanted.set,
            partial(unfetched, self._source),
            until=lambda: backlog.until,
            waits=lambda: backlog.waits,
        )
        self.flows.append(flow)
        self._beside[live.engine.way] = flow
        self._live[live.engine.way] = live
        self._topics.setdefault(live.engine.way.topic, []).append(flow)
        opened(backlog.engine)
        beside = self._topics[live.engine.way.topic]
        self._spawn(backlog.run(flow, lambda: begun(flow, beside)), flow)
        if first:
            works: list[Coroutine[Any, Any, None]] = [
                self._look(),
                self._fetch(),
                identity.watch(ends.probe, self._topics),
            ]
            for work in works:
                self._spawn(work)

    def floor(self, way: Way, head: Callable[[Way], Head | None]) -> int | None:
        """First source offset of a partition that is set aside and not proven at the target; None: there is none."""
        backlog = self._backlogs.get(way)
        return None if backlog is None else unproven_from(backlog.aside, backlog.position, head(backlog.way))

    async def _look(self) -> None:
        """Find out where ranges begin and who is behind, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for way, backlog in list(self._backlogs.items()):
                flow = self._live.get(way)
                if flow is None:
                    continue
                backlog.look(flow)
                try:
                    await backlog.settle()
                except (Fenced, Defect, SetBack):
                    raise
                except (Transient, DataMissing) as error:  # DataMissing: the live stream finds out what it means
                    if self._voice.says(str(error)):
                        _log.warning("a backlog waits", way=str(way), why=str(error))
                except Permanent as error:
                    if self._beside[way].halted is None:
                        self._beside[way].stand_still(error)

    async def _fetch(self) -> None:
        """A second stream: in one fetch a partition can be asked for from one offset only."""
        settings = self._settings
        source = Cluster(settings.source, client_id=f"headwater-backlog-{settings.site}")
        try:
            await retrying(f"reaching the source {settings.source.brokers} for backlogs", source.connect)
            await fetch_for(self.flows, source, settings, self.wanted)
        finally:
            await source.close()


async def _make_target(ends: Ends, way: Way, replication_factor: int) -> None:
    spec = await targets.spec_at_source(ends.probe, way.topic)
    await targets.make_target(ends.target, way.target, spec, replication_factor)
