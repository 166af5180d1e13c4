"""A link at work: one stream of fetches from the source, a flow a partition, positions stored every few seconds.

Every step may be cut off by SIGKILL: what was shipped is read from the target at the next start (anchor.py).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from headwater.contract.errors import HeadwaterError, Permanent
from headwater.contract.topics import MANIFEST_KEPT_MS, gaps, manifest, positions
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.retry import retrying
from replicator import targets
from replicator.account import Account
from replicator.anchor import Anchor
from replicator.engine import Ends, Engine, Shipment, now_ms, unfetched
from replicator.fetching import fetch_for
from replicator.flow import Flow
from replicator.fresh.asides import Asides
from replicator.granting import Granting
from replicator.journal import Journal
from replicator.links.lines import Lines
from replicator.mm2 import publish
from replicator.mm2.cycles import guard_of
from replicator.opening import Topics
from replicator.operating.observer import Observer
from replicator.position import Position
from replicator.proof.prover import Prover
from replicator.record_engine import RecordEngine
from replicator.remaining import Remaining, missing
from replicator.settings import ReplicatorSettings
from replicator.sharing.elsewhere import Elsewhere
from replicator.sharing.shares import Held
from replicator.way import Way

if TYPE_CHECKING:
    from replicator.metrics import Metrics

_log = structlog.get_logger(__name__)
_KEEP_NAME_S = 86_400.0


def _metrics(settings: ReplicatorSettings) -> Metrics | None:
    if settings.metrics_port is None:
        return None
    from replicator.metrics import Metrics  # noqa: PLC0415  # 3 MB that a link without a metrics port does without

    return Metrics(settings.site, settings.direction)


class Link:
    """Use `run_link`. `source` carries the stream of fetches, `probe` the other questions to the source."""

    def __init__(
        self,
        settings: ReplicatorSettings,
        source: Cluster,
        probe: Cluster,
        target: Cluster,
        batch_engine: Callable[[Way, Ends], Engine],
        observer: Observer,
        held: Held | None = None,
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._held = held
        self._batch_engine = batch_engine
        self._source = source
        self._probe = probe
        self._target = target
        self._metrics = _metrics(settings)
        self._journal: Journal | None = None
        self._topics: Topics | None = None
        self._account: Account | None = None
        self._prover: Prover | None = None
        self._lines: Lines | None = None
        self._keeping: asyncio.Task[None] | None = None  # to rate and budget, also of what is shipped in the end
        self._flows: list[Flow] = []
        self._asides = Asides(settings, self._spawn, source)
        self._refused: dict[str, Permanent] = {}
        self._missing: Permanent | None = None  # at the target, when the link was told to stop
        self._stored: dict[Way, Position] = {}
        self._wanted = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], Flow | None] = {}
        self._ended: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()

    async def run(self, stop: asyncio.Event) -> Permanent | None:
        """See `run_link` in running.py."""
        opening = self._spawn(self._open())
        self._spawn(stop.wait())
        try:
            while not stop.is_set():
                task = await self._ended.get()
                del self._tasks[task]
                task.result()
                self._refuse_to_stand_still(opening.done())
            await self._finish()
            return next(iter(self._standing_still() + self._asides.halted), self._missing)
        finally:
            await self._cancel(list(self._tasks))
            if self._topics is not None:
                await self._topics.close()
            if self._journal is not None:
                if self._account is not None:
                    await self._account.last_word(self._halts())
                if self._lines is not None:
                    await self._lines.close()
                await self._journal.close()

    def _spawn(self, work: Coroutine[Any, Any, Any], flow: Flow | None = None) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks[task] = flow
        task.add_done_callback(self._ended.put_nowait)
        return task

    async def _cancel(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, HeadwaterError):
                _log.warning("while stopping", why=str(outcome))

    def _halts(self) -> dict[Way, Permanent | None]:
        return {flow.engine.way: flow.halted for flow in self._all_flows}

    def _standing_still(self) -> list[Permanent]:
        return [flow.halted for flow in self._flows if flow.halted is not None] + list(self._refused.values())

    def _refuse_to_stand_still(self, opened: bool) -> None:
        halted = self._standing_still()
        if opened and halted and len(halted) == len(self._flows) + len(self._refused):
            raise halted[0]

    async def _open(self) -> None:
        """Reach both clusters, shut out the former life, then start each topic as soon as it is there."""
        settings = self._settings
        for name, cluster in (("source", self._source), ("source", self._probe), ("target", self._target)):
            await retrying(f"reaching the {name} {cluster.settings.brokers}", cluster.connect)
        own = (positions(settings.site), gaps(settings.site), manifest(settings.site, MANIFEST_KEPT_MS))
        make = partial(create_topic, self._target, replication_factor=settings.replication_factor)
        await asyncio.gather(*(retrying(f"creating topic {spec.name}", partial(make, spec)) for spec in own))
        self._journal = await retrying(
            f"opening the positions of {settings.site}", partial(Journal.open, self._target, settings.site, self._held)
        )
        if settings.proof.enabled:
            prover = Prover(settings.proof, settings.site, self._probe, self._target, self._journal)
            prover.floor = self._asides.floor
            self._prover = self._observer.prover = prover
            self._spawn(prover.run())
        for work in await self._observer.begin(self._probe, self._target, self._wanted.set):
            self._spawn(work)
        observer = self._observer
        lines = await Lines.open(settings.link, self._target, self._journal, observer.meter, observer.down)
        self._lines = observer.lines = lines
        if self._prover is not None:
            lines.governor.sizing.watch(self._prover.pace)
        self._keeping = self._spawn(lines.run())
        self._account = Account(self._target, self._journal, self._metrics, now_ms)
        ends = Ends(
            probe=self._probe,
            target=self._target,
            journal=self._journal,
            anchor=Anchor(self._probe, self._target),
            on_gap=settings.on_gap,
            on_shipped=self._on_shipped,
            account=self._account,
            lines=lines,
            keeps_data=settings.proof.enabled and settings.proof.sha256,
        )
        self._spawn(fetch_for(self._flows, self._source, settings, self._wanted))
        self._spawn(self._store_positions(self._journal, lines))
        guard = guard_of(settings, self._probe, self._target, self._journal)
        export = partial(self._observer.export, self._metrics)
        topics = Topics(settings, ends, self._engine, self._spawn, partial(self._start, ends), export, guard)
        topics.beside = self._asides.flows
        self._topics = topics
        every_s, flows = settings.position_interval_s, lambda: self._all_flows
        self._spawn(Remaining(self._target, self._journal, flows, every_s, lines.worth_s, topics.remake).run())
        both, shares = (self._probe, self._target), (self._held, self._journal.former)
        for work in publish.works(settings, *both, topics, guard, self._metrics, *shares):
            self._spawn(work)
        await targets.say_what_is_missing(self._probe, settings.topics)
        self._refused = self._observer.refused = topics.refused
        await asyncio.gather(*(topics.attempt(topic) for topic in settings.topics))
        self._spawn(Granting(topics, lambda: self._all_flows, self._again).run())
        if not gc.get_freeze_count():  # what a link is made of stays: nobody need look at it again and again
            gc.freeze()
        self._observer.opened = True
        _log.info("link is open", site=settings.site, partitions=len(self._flows))

    @property
    def _all_flows(self) -> list[Flow]:
        return [*self._flows, *self._asides.flows]

    def _engine(self, way: Way, ends: Ends) -> Engine:
        return self._asides.engine(way, ends) or self._batch_engine(way, ends)

    def _start(self, ends: Ends, engine: Engine) -> Flow:
        flow = Flow(engine, self._settings.backlog_bytes, self._wanted.set, partial(unfetched, self._source))
        if isinstance(engine, Elsewhere):
            return flow
        self._flows.append(flow)
        self._observer.attach(flow)
        self._prove(engine)
        self._spawn(flow.run(), flow)
        self._asides.start(flow, ends, self._prove, self._show)
        return flow

    def _show(self, backlog: Flow, beside: Sequence[Flow]) -> None:
        self._observer.attach(backlog)
        self._observer.export(self._metrics, backlog.engine.way.ledger, beside)

    def _prove(self, engine: Engine) -> None:
        if self._prover is not None and not isinstance(engine, RecordEngine):
            self._prover.open(engine)

    async def _store_positions(self, journal: Journal, lines: Lines) -> None:
        named, written = time.monotonic(), journal.written_bytes
        while True:
            await asyncio.sleep(max(self._settings.position_interval_s, lines.worth_s(journal.written_bytes - written)))
            written = journal.written_bytes
            await self._store(journal)
            if time.monotonic() - named > _KEEP_NAME_S:
                await journal.keep_name()
                if self._topics is not None:
                    await self._topics.keep_names()
                named = time.monotonic()

    async def _store(self, journal: Journal) -> None:
        changed = {}
        for flow in self._all_flows:
            position = flow.engine.checkpoint()
            if position is not None and position != self._stored.get(flow.engine.way):
                changed[flow.engine.way] = position
        await journal.store(list(changed.items()))
        self._stored |= changed
        if self._account is not None:
            await self._account.store(self._halts())

    async def _finish(self) -> None:
        """Ship what is held, for at most `drain_s`, and store the positions."""
        await self._cancel([task for task, flow in self._tasks.items() if flow is None and task is not self._keeping])
        for flow in self._all_flows:
            flow.finish()
        flows, kept = [task for task, flow in self._tasks.items() if flow is not None], True
        if flows:
            done, late = await asyncio.wait(flows, timeout=self._settings.drain_s)
            for task in done:
                self._tasks.pop(task)
                task.result()
            if late:
                _log.warning("stopping with records held", partitions=len(late))
        if self._journal is not None:
            try:
                async with asyncio.timeout(self._settings.drain_s):
                    await self._store(self._journal)
                    if self._prover is not None:
                        await self._prover.close()
            except TimeoutError:
                kept = False
                _log.warning("positions not stored in time: the next start counts on from those that are stored")
        held = [flow for flow in self._tasks.values() if flow is not None and flow.adrift]
        if held or not kept:
            self._missing = await missing(self._target, positions(self._settings.site).name, held)

    def _again(self, flow: Flow) -> None:
        if self._account is not None:
            self._account.tried(flow.engine.way)
        self._spawn(flow.run(), flow)

    def _on_shipped(self, way: Way, shipment: Shipment) -> None:
        self._observer.on_shipped(way, shipment)
        if self._prover is not None:
            self._prover.on_shipped(way, shipment)
        if self._metrics is not None:
            self._metrics.on_shipped(way, shipment)
