"""How topics come under way: looked for at the source, made at the target, a flow for each of their partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import structlog

from headwater.contract.errors import Defect, Fenced, Permanent
from headwater.contract.topics import COMPACT, TopicSpec
from headwater.transport.kafka_batch import Cluster, Writer
from headwater.transport.retry import AGAIN_S, Voice, retrying
from replicator import identity, targets
from replicator.batch_engine import BatchEngine
from replicator.engine import Ends, Engine
from replicator.flow import Flow
from replicator.mm2.cycles import Guard
from replicator.record_engine import RecordEngine
from replicator.records.chain import Chain
from replicator.records.choosing import PLAIN, RULED, chain_of
from replicator.settings import ReplicatorSettings
from replicator.sharing.elsewhere import Elsewhere
from replicator.way import Way

_log = structlog.get_logger(__name__)


class Topics:
    """The topics of a link that are under way: `flows` by topic, a flow for each partition in their order.

    `spawn` has work done beside the link, `made` is told of each topic once and of its list of flows, which grows.
    `beside` are the flows of backlogs (fresh/).
    """

    def __init__(
        self,
        settings: ReplicatorSettings,
        ends: Ends,
        batch_engine: Callable[[Way, Ends], Engine],
        spawn: Callable[[Coroutine[Any, Any, Any]], object],
        start: Callable[[Engine], Flow],
        made: Callable[[str, list[Flow]], None],
        guard: Guard | None = None,
    ) -> None:
        self.flows: dict[str, list[Flow]] = {}
        self.refused: dict[str, Permanent] = {}
        self.beside: Sequence[Flow] = ()
        self._settings = settings
        self._ends = ends
        self._batch_engine = batch_engine
        self._spawn = spawn
        self._start = start
        self._made = made
        self._guard = guard
        self._writers: dict[Way, Writer] = {}  # the newest of each partition
        self._voices: dict[str, Voice] = {}

    async def open(self, topic: str) -> None:
        """Wait for a topic, make its target, ship it; a Permanent error where that is not possible."""
        settings, target = self._settings, self._target
        spec = await retrying(
            f"looking for topic {topic} at the source",
            lambda: targets.spec_at_source(self._ends.probe, topic),
            quiet_s=AGAIN_S,
        )
        if self._guard is not None:
            guard = self._guard
            await retrying(
                f"making sure that {topic} does not go round", lambda: guard.admit(topic), most_s=3.0, quiet_s=0
            )
        await retrying(
            f"creating the target of {topic}",
            lambda: targets.make_target(target, settings.names.remote(topic), spec, settings.replication_factor),
        )
        limits = self._ends.account.limits(settings.way(topic, 0))
        await retrying(f"asking for the limits of {limits.topic}", limits.refresh)
        # Where offsets do not follow numbers for good, or never do, each record carries its own.
        if limits.now.compacted or self._chain(topic, spec.partitions) is not None:
            spec = replace(spec, configs=COMPACT)
        if not self.flows:
            self._spawn(identity.watch(self._ends.probe, self.flows))
        self.flows[topic] = []
        self._carry(spec)
        self._made(topic, self.flows[topic])

    async def remake(self, name: str) -> None:
        """Make a target again that was deleted; Permanent errors as `open`, Transient: try again."""
        for topic in self.flows:
            if self._settings.names.remote(topic) == name:
                spec = await targets.spec_at_source(self._ends.probe, topic)
                await targets.make_target(self._target, name, spec, self._settings.replication_factor)
                _log.warning("a topic that was deleted at the target is made again", topic=name)

    def take_up(self, topic: str) -> None:
        """Start a topic that a pattern fits; if that cannot be, the others go on."""
        self._spawn(self.attempt(topic))

    async def attempt(self, topic: str) -> None:
        """Open a topic; if that cannot be, it is `refused`, and the others go on. Fenced and Defect end the link."""
        try:
            await self.open(topic)
        except (Fenced, Defect):
            raise
        except Permanent as error:
            self.refused[topic] = error
            self._ends.account.refused(self._settings.way(topic, 0), error)
            if self._voices.setdefault(topic, Voice(quiet_s=0.0)).says(str(error)):
                _log.error("topic refused", topic=topic, why=str(error), hint=error.hint)
        else:
            if self.refused.pop(topic, None) is not None:
                _log.info("topic is shipped now", topic=topic)

    def widen(self, topic: str, count: int) -> None:
        """Ship partitions that were added, up to `count` of them."""
        compacted = self.flows[topic][0].engine.name in (PLAIN, RULED)
        self._carry(TopicSpec(topic, count, COMPACT if compacted else {}))
        _log.info("partitions added", topic=topic, now=count)

    @property
    def _target(self) -> Cluster:
        return self._ends.target

    def _carry(self, spec: TopicSpec) -> None:
        flows = self.flows[spec.name]
        flows += [self._start(self._engine(spec, partition)) for partition in range(len(flows), spec.partitions)]

    def _engine(self, spec: TopicSpec, partition: int) -> Engine:
        way = self._settings.way(spec.name, partition)
        by_record = targets.is_compacted(spec)
        chain = self._chain(spec.name, spec.partitions) if by_record else None
        by_rules = chain is not None and chain.names
        engine = RULED if by_rules else PLAIN if by_record else BatchEngine.name
        if not self._ends.journal.owns(spec.name, partition):
            return Elsewhere(way, engine)
        self._ends.account.carried(way, engine)
        if not by_record:
            return self._batch_engine(way, self._ends)
        # A name each, so that partitions which are added later can be opened by themselves.
        name = f"replicator-{self._settings.site}-{spec.name}-{partition}"
        return RecordEngine(way, self._ends, lambda: self._writer(name, way), chain)

    def _chain(self, topic: str, partitions: int) -> Chain | None:
        """The rules of a topic, one set a partition; also none at all where it had some once."""
        return chain_of(self._settings, topic, [self._ends.journal.position(topic, p) for p in range(partitions)])

    async def _writer(self, name: str, way: Way) -> Writer:
        writer = await Writer.open(self._target, name, {way.target: [way.partition]}, tails={way.target: 1})
        self._writers[way] = writer
        return writer

    async def keep_names(self) -> None:
        """Repeat the fences; once a day, so that Kafka does not forget whom to shut out (seven days)."""
        await asyncio.gather(*(writer.refence() for writer in self._writers.values() if not writer.is_over))

    async def close(self) -> None:
        """End the writers of the compacted topics; their flows must have ended."""
        for writer in self._writers.values():
            await writer.close()
