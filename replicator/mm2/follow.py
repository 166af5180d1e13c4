"""Follows the source's consumer groups: checkpoints for MirrorMaker's tools, and their offsets set at the target.

What is translated, and how exactly, is in translate.py. Checkpoints are written by a fenced writer, so that a late one
of a dead life never replaces a newer one; where the link is shared each share has one (as in journal.py), since who is
asleep may have held any of the shares that another instance has now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from headwater.contract.errors import BadInput, DataMissing, Fenced, Refused
from headwater.contract.topics import COMPACT, TopicSpec
from headwater.transport.kafka_batch import Cluster, Out, TopicPartition, Writer, read_compacted
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.groups import Committed, Groups, list_groups
from replicator.engine import Engine, now_ms
from replicator.flow import Flow
from replicator.mm2.formats import Checkpoint, OffsetSync, read_checkpoint
from replicator.mm2.plain import PlainTopic
from replicator.mm2.translate import Translator
from replicator.position import Position
from replicator.record_engine import RecordEngine
from replicator.settings import ReplicatorSettings
from replicator.sharing.shares import Held, share_of
from replicator.way import BACKLOG

if TYPE_CHECKING:
    from replicator.metrics import Metrics

_log = structlog.get_logger(__name__)
Carried = dict[TopicPartition, tuple[Engine, Position]]


class Follower:
    """Of one link; `flows` by topic may grow meanwhile, and `beside`, those of backlogs (fresh/).

    `held`: the shares of this instance of a shared link; `former`: the shares of those who shared it before.
    """

    def __init__(
        self,
        settings: ReplicatorSettings,
        source: Cluster,
        target: Cluster,
        flows: Mapping[str, Sequence[Flow]],
        held: Held | None = None,
        beside: Sequence[Flow] = (),
        former: Held = (),
        metrics: Metrics | None = None,
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._mm2 = settings.mm2
        self._source = source
        self._target = target
        self._flows = flows
        self._beside = beside
        self._here, self._there = Groups(source), Groups(target)
        self._translator = Translator(source, target)
        self._shares: list[int | None] = [None] if held is None else [*sorted(held)]
        self._others: list[int | None] = [*former] if held is None else [None]  # who may sleep, and is shut out
        self._writers: dict[int | None, Writer] = {}
        self._checkpoints: dict[bytes, Checkpoint] = {}  # by record key, as last written
        self._syncs: dict[bytes, OffsetSync] = {}
        self._set: dict[str, dict[TopicPartition, Committed]] = {}  # by group, as last set at the target
        self._told: set[tuple[str, str]] = set()
        names = settings.names
        if self._mm2.offset_syncs_at == "source":
            self._syncs_topic = PlainTopic(source, names.offset_syncs(names.target))
        else:
            self._syncs_topic = PlainTopic(target, names.offset_syncs(names.source), settings.replication_factor)

    async def prepare(self) -> None:
        """Make the topics, shut out the former life, and read which checkpoints there are."""
        if not self._mm2.publish:
            return
        await self._syncs_topic.make()
        topic = self._settings.names.checkpoints
        copies = self._settings.replication_factor
        await create_topic(self._target, TopicSpec(topic, 1, COMPACT), replication_factor=copies)
        await self.close()
        await asyncio.gather(*map(self._shut_out, self._others))
        opened = await asyncio.gather(*map(self._open, self._shares))
        self._writers = dict(zip(self._shares, opened, strict=True))
        kept = await read_compacted(self._target, topic, 0)
        self._checkpoints = {key: read_checkpoint(key, record.value) for key, record in kept.items()}

    async def _open(self, share: int | None) -> Writer:
        # A dot, which no site has: not the name of the writer of a compacted topic.
        name = f"replicator-{self._settings.site}.mm2" + ("" if share is None else f"-share-{share}")
        return await Writer.open(self._target, name, {self._settings.names.checkpoints: [0]})

    async def _shut_out(self, share: int | None) -> None:
        with suppress(Fenced):  # another instance does so at the same time
            await (await self._open(share)).close()

    async def close(self) -> None:
        """End the writers."""
        await asyncio.gather(*(writer.close() for writer in self._writers.values()))

    async def step(self) -> None:
        """Say where each partition and each group is now."""
        carried = {
            (flow.engine.way.ledger, flow.engine.way.partition): (flow.engine, position)
            for flows in [*self._flows.values(), self._beside]
            for flow in flows
            if (position := flow.engine.position) is not None
        }
        if self._mm2.publish:
            await self._write_syncs(carried)
        for group in await list_groups(self._source):
            if self._mm2.fits(group):
                await self._follow(group, carried)

    async def _write_syncs(self, carried: Carried) -> None:
        """The last record shipped of each partition that moved, by its mark."""
        found = [
            OffsetSync(topic, partition, mark.next - 1, position.target_first + mark.count - 1)
            for (topic, partition), (engine, position) in carried.items()
            for mark in position.trail[-1:]
            if not engine.way.aside
        ]
        news = {sync.key: sync for sync in found if self._syncs.get(sync.key) != sync}
        if news:
            await self._syncs_topic.write([(key, sync.value) for key, sync in news.items()])
            self._syncs |= news

    async def _follow(self, group: str, carried: Carried) -> None:
        try:
            stands, seen_ms = await self._here.committed(group), now_ms()
            found = [
                each
                for (topic, partition), committed in stands.items()
                for pair in ((topic, partition), (topic + BACKLOG, partition))
                if pair in carried and (each := await self._checkpoint(group, committed, *carried[pair]))
            ]
            if self._writers:
                await self._write_checkpoints(found, carried, seen_ms)
            if self._mm2.sync_group_offsets:
                await self._set_offsets(group, found)
        except Refused as error:
            self._tell(group, "may not be followed", str(error))

    async def _checkpoint(
        self, group: str, committed: Committed, engine: Engine, position: Position
    ) -> Checkpoint | None:
        way = engine.way
        try:
            if isinstance(engine, RecordEngine):
                offset: int | None = await self._translator.by_header(way, position, committed.offset)
            else:
                offset = await self._translator.by_count(way, position, committed.offset)
        except (DataMissing, BadInput) as error:
            self._tell(group, f"cannot be translated in {way}", str(error))
            return None
        if offset is None:
            self._tell(group, f"cannot be translated in {way}", "it stands before the last gap")
            return None
        return Checkpoint(group, way.target, way.partition, committed.offset, offset, committed.metadata)

    async def _write_checkpoints(self, found: Sequence[Checkpoint], carried: Carried, seen_ms: int) -> None:
        places = {(each.way.target, each.way.partition): (each.way, at.target_next) for each, at in carried.values()}
        topic, now = self._settings.names.checkpoints, now_ms()
        outs: dict[Writer, list[Out]] = {}
        news: dict[bytes, Checkpoint] = {}
        for each in found:
            way, end = places[each.topic, each.partition]
            if _is_news(self._checkpoints.get(each.key), each, end):
                share = None if None in self._writers else share_of(way.ledger, way.partition)
                outs.setdefault(self._writers[share], []).append(Out(each.key, each.value, (), now))
                news[each.key] = each
        await asyncio.gather(*(writer.write(topic, 0, each) for writer, each in outs.items()))
        self._checkpoints |= news
        if self._metrics is not None:
            for each in news.values():
                self._metrics.on_checkpoint(self._settings.names, each, seen_ms, now_ms())

    async def _set_offsets(self, group: str, found: Sequence[Checkpoint]) -> None:
        """Move a group at the target forward to where it stands at the source, unless it has members there."""
        wanted = {(each.topic, each.partition): Committed(each.downstream, each.metadata) for each in found}
        if not wanted or self._set.get(group) == wanted:
            return
        there = await self._there.committed(group)
        ahead = {pair: new for pair, new in wanted.items() if pair not in there or there[pair].offset < new.offset}
        if ahead and not await self._there.commit(group, ahead):
            self._tell(group, "is left alone", "it has members at the target")
            return
        self._set[group] = wanted
        self._told.discard((group, "is left alone"))

    def _tell(self, group: str, what: str, why: str) -> None:
        if (group, what) not in self._told:
            self._told.add((group, what))
            _log.info("a consumer group", group=group, what=what, why=why)


def _is_news(former: Checkpoint | None, new: Checkpoint, end: int) -> bool:
    """Whether a checkpoint is written: those of MirrorMaker's rules, and where the former one is behind the log's end.

    A group that went back at the source is followed; else a checkpoint never goes back (MirrorCheckpointTask).
    """
    return (
        former is None
        or new.upstream < former.upstream
        or new.downstream > former.downstream
        or former.downstream > end
    )
