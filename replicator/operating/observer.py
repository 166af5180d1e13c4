"""Watches a running link from beside it, and keeps paused topics from being fetched.

Nothing here is waited for by a batch: engines and flows call `on_shipped` and `Flow.note`, the rest is asked once a
second.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import structlog
from msgspec import structs

from headwater.contract.errors import HeadwaterError, Permanent
from headwater.transport import logs
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.meter import Meter
from replicator.batch_engine import BatchEngine
from replicator.engine import Shipment, now_ms
from replicator.flow import Flow
from replicator.links.lines import Lines
from replicator.operating.figures import Figures
from replicator.operating.lanes import lanes
from replicator.operating.live import PartitionView, Snapshot
from replicator.operating.outlook import Outlook
from replicator.operating.pausing import ALL, Pause, Paused, Watch
from replicator.operating.roads import Roads
from replicator.proof.prover import Prover
from replicator.settings import ReplicatorSettings
from replicator.way import Way

if TYPE_CHECKING:
    from replicator.metrics import Metrics

_LOOK_S = 1.0
_ENDS_LOOKS = 5

_log = structlog.get_logger(__name__)


class Observer:
    """Of one life of a link. `prover`, `lines`, `refused` and `opened` are set by the link.

    `failed`: the trouble in which it has ended. `down` watches the way down, if there is one. `meter` counts what both
    ways have on the road between site and cloud, over all lives of the links in this process.
    """

    def __init__(
        self, settings: ReplicatorSettings, clock: Callable[[], int] = now_ms, meter: Meter | None = None
    ) -> None:
        self.meter = meter or Meter()
        self.prover: Prover | None = None
        self.opened = False
        self.lines: Lines | None = None
        self.figures = Figures(clock)
        self.paused: Paused = {}
        self.settings = settings
        self.failed: Permanent | None = None
        self.refused: Mapping[str, Permanent] = {}
        self.down = None if settings.down_link is None else Observer(settings.down_link, clock, self.meter)
        self._held = ""
        self._clock = clock
        self._flows: list[Flow] = []
        self._roads = Roads()
        self._reached_ms = 0
        self._outlook = Outlook()
        self._resumed: Callable[[], None] = lambda: None

    def attach(self, flow: Flow) -> None:
        """Watch one more partition."""
        self._flows.append(flow)
        flow.note = partial(self.figures.fetched, flow.engine.way)
        flow.paused = self.why_paused(flow.engine.way.topic) is not None

    def on_shipped(self, way: Way, shipment: Shipment) -> None:
        """Take note of what the target has acknowledged."""
        self._reached_ms = self.figures.shipped(way, shipment.records, shipment.size, shipment.newest_ms)

    async def begin(
        self, probe: Cluster, target: Cluster, resumed: Callable[[], None]
    ) -> list[Coroutine[Any, Any, None]]:
        """Learn what is paused, before anything is fetched; returns what is to run beside the link.

        `resumed` is called when topics go on.
        """
        self._resumed = resumed
        self._flows, self.opened = [], False  # a link that is shared begins anew with each change of its shares
        pauses = Watch(probe, self.settings.site, self._pause)
        await pauses.begin()
        return [pauses.run(), self._run(probe, target)]

    def why_paused(self, topic: str) -> Pause | None:
        """The pause of a topic, or of all."""
        held = Pause(self._clock(), why=self._held) if self._held else None
        return self.paused.get(topic) or self.paused.get(ALL) or held

    def hold(self, why: str) -> None:
        """Have nothing fetched for this reason, whatever is paused besides; with an empty one go on."""
        if why != self._held:
            _log.info("waits" if why else "goes on", way=self.settings.direction, why=why)
            self._held = why
            self._pause(self.paused)

    def _pause(self, paused: Paused) -> None:
        if paused != self.paused:
            _log.info("paused" if paused else "nothing is paused", topics=sorted(paused))
        self.paused = paused
        for flow in self._flows:
            flow.paused = self.why_paused(flow.engine.way.topic) is not None
        self._resumed()

    async def _run(self, probe: Cluster, target: Cluster) -> None:
        """Look once a second, at the ends of the source's logs every five; until cancelled."""
        looks = 0
        while True:
            self._roads.look(target.roads())
            if looks % _ENDS_LOOKS == 0:
                await self._look_at_ends(probe)
            self._outlook.note(sum(each.behind for each in self._flows if not each.paused), self._clock())
            looks += 1
            await asyncio.sleep(_LOOK_S)

    async def _look_at_ends(self, probe: Cluster) -> None:
        """How much waits, also of partitions that are not fetched now."""
        unseen = [flow for flow in self._flows if (flow.paused or flow.full) and not flow.engine.way.aside]
        for topic in {flow.engine.way.topic for flow in unseen}:
            try:
                ends = await probe.offsets(topic, "latest")
            except HeadwaterError:
                continue  # whoever fetches it says so
            for flow in unseen:
                if flow.engine.way.topic == topic:
                    flow.decided = max(flow.decided, ends.get(flow.engine.way.partition, 0))

    def snapshot(self) -> Snapshot:
        """All at this moment; call it on the link's event loop."""
        settings, now, problem = self.settings, self._clock(), logs.last_problem()
        partitions = [self._view(flow, now) for flow in self._flows]
        partitions += [self._refusal(topic, error) for topic, error in self.refused.items()]
        goodput = self.figures.goodput.now(now)
        views = lanes(settings.link, partitions, self.lines)
        eta_s, why = self._outlook.eta(partitions, views, goodput, self._held)
        in_vain = sum(f.engine.unacknowledged_bytes for f in self._flows if isinstance(f.engine, BatchEngine))
        return Snapshot(
            site=settings.site,
            pid=os.getpid(),
            at=now,
            since=self.figures.since,
            source=settings.source.brokers,
            target=settings.target.brokers,
            open=self.opened,
            reached_ms=self._reached_ms,
            goodput_bytes_s=goodput,
            round_trip_ms=self._roads.round_trip_ms,
            sent_bytes=self._roads.sent,
            wasted_bytes=self._roads.resent + in_vain,
            eta_s=eta_s,
            eta_why=why,
            budget_left_bytes=None if self.lines is None else self.lines.budget.left,
            rate_bytes_s=None if self.lines is None else self.lines.governor.rate,
            connections=self._roads.connections,
            lanes=views,
            paused=({ALL: self._held} if self._held else {})
            | {topic: pause.why or f"by {pause.by or 'somebody'}" for topic, pause in self.paused.items()},
            partitions=partitions,
            last_error=problem.says,
            last_error_at=problem.at_ms,
            direction=settings.direction,
            failed="" if self.failed is None else str(self.failed),
            hint="" if self.failed is None else self.failed.hint,
            exit_code=0 if self.failed is None else self.failed.exit_code,
            down=None if self.down is None else self.down.snapshot(),
        )

    def _view(self, flow: Flow, now: int) -> PartitionView:
        way, position, halted = flow.engine.way, flow.engine.position, flow.halted
        figures, prover = self.figures.of(way), self.prover
        oldest = None if position is None else figures.oldest_ms(position.source_next)
        return PartitionView(
            topic=way.ledger,
            partition=way.partition,
            target=way.target,
            engine=flow.engine.name,
            state=_state(flow),
            source_next=-1 if position is None else position.source_next,
            target_next=-1 if position is None else position.target_next,
            records=figures.records,
            bytes=figures.bytes,
            lag_records=flow.behind,
            lag_bytes=round(flow.behind * (figures.record_bytes or self._record_bytes())),
            age_ms=None if oldest is None else max(now - oldest, 0),
            safe_to_delete=None if prover is None else prover.safe_to_delete(way),
            halted="" if halted is None else str(halted),
            hint="" if halted is None else halted.hint,
            exit_code=0 if halted is None else halted.exit_code,
            doubted="" if prover is None else prover.doubted.get(way, ""),
        )

    def _refusal(self, topic: str, error: Permanent) -> PartitionView:
        """A topic that could not even begin."""
        way = self.settings.way(topic, 0)
        view = PartitionView(topic, 0, way.target, "", "halted", halted=str(error))
        return structs.replace(view, hint=error.hint, exit_code=error.exit_code)

    def export(self, metrics: Metrics | None, topic: str, flows: Sequence[Flow]) -> None:
        """Have the gauges of a topic in `metrics` answered, where somebody asks for them."""
        if metrics is not None:
            metrics.watch(
                topic,
                lag=lambda: sum(flow.behind for flow in flows),
                lag_s=lambda: self.lag_s(flows),
                halted=lambda: sum(flow.halted is not None for flow in flows),
            )

    def lag_s(self, flows: Sequence[Flow]) -> float:
        """Age of the oldest record that waits; of the newest that was shipped, where it is not known what waits."""
        oldest = [found for flow in flows if flow.behind and (found := self._waiting_ms(flow))]
        return max(self._clock() - min(oldest), 0) / 1000 if oldest else 0.0

    def _waiting_ms(self, flow: Flow) -> int:
        figures, position = self.figures.of(flow.engine.way), flow.engine.position
        return (figures.oldest_ms(position.source_next) if position is not None else None) or figures.newest_ms

    def _record_bytes(self) -> float:
        """Of all that was shipped; a partition that has shipped nothing yet is taken to be like the others."""
        records = sum(each.records for each in self.figures.partitions.values())
        return self.figures.goodput.total / records if records else 0.0


def _state(flow: Flow) -> str:
    if flow.halted is not None:
        return "halted"
    if flow.paused:
        return "paused"
    if flow.engine.way.aside and not flow.behind:
        return "up to date"
    if flow.engine.position is None or flow.next_offset is None:
        return "starting"
    return "shipping" if flow.behind else "up to date"


def by_topic(partitions: list[PartitionView]) -> dict[str, list[PartitionView]]:
    """Partitions of each topic."""
    ordered = sorted(partitions, key=lambda each: (each.topic, each.partition))
    return {topic: list(found) for topic, found in groupby(ordered, key=lambda each: each.topic)}
