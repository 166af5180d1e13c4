"""What a link would do, found out without writing anything: `headwater replicate plan`."""

from __future__ import annotations

from typing import Literal

import msgspec

from headwater.contract.errors import Permanent, Transient
from headwater.contract.topics import TopicSpec, gaps, manifest, positions
from headwater.transport.kafka_batch import Cluster, read_tail
from headwater.transport.kafka_batch.administration import topic_configs
from headwater.transport.kafka_batch.alterations import all_topics
from replicator import logs, losses, targets
from replicator.batch_engine import BatchEngine
from replicator.engine import now_ms
from replicator.limits import NO_LIMIT, Limits, limits_in
from replicator.mm2.cycles import two_clusters
from replicator.mm2.refresh import chosen, drift
from replicator.operating.pausing import ALL, paused
from replicator.position import PRODUCER_KEY, Identity, decode
from replicator.quarantine import source_offset
from replicator.records.choosing import chain_of, engine_of
from replicator.settings import ReplicatorSettings
from replicator.status import Kept, open_ends, position_in, stored
from replicator.way import Way

Action = Literal["create", "ship", "wait", "refuse"]
_KEPT_RECORD_TIME = "message.timestamp.type"


class PlannedTopic(msgspec.Struct, frozen=True):
    """One topic. `records` would be shipped now, at most (offsets between); `void` of them the target deletes at once.

    `action`: create the target's topic and ship, ship into what is there, wait for a topic that the source does not
    have, refuse. `is_new`: nothing of it was shipped yet. `drift` is by name of a configuration: as the link would set
    it, as it is. `by`: why the engine is not the usual one. `backlog`: where what is late goes when what is new goes
    first.
    """

    topic: str
    target: str
    action: Action
    why: str = ""
    hint: str = ""
    engine: str = ""
    partitions: int = 0
    added_partitions: int = 0
    records: int = 0
    is_new: bool = True
    void: int = 0
    drift: dict[str, tuple[str, str]] = {}
    paused: str = ""
    by: str = ""
    backlog: str = ""


class Plan(msgspec.Struct, frozen=True):
    """A whole link: its topics, the topics that it would create for itself, and those of the source that it leaves."""

    site: str
    source: str
    target: str
    topics: list[PlannedTopic]
    own: list[str]
    left_out: dict[str, str]
    direction: str = "up"
    down: Plan | None = None

    @property
    def ways(self) -> list[Plan]:
        """Both ways, this one first."""
        return [self] if self.down is None else [self, self.down]

    @property
    def refused(self) -> list[PlannedTopic]:
        """Topics that it cannot ship, either way."""
        return [each for way in self.ways for each in way.topics if each.action == "refuse"]


async def plan_link(settings: ReplicatorSettings) -> Plan:
    """Ask both clusters, and write nothing.

    Unreachable: one of them does not answer. Refused: topics keep their names, and both are one cluster.
    """
    up, down = await _plan_way(settings), settings.down_link
    return up if down is None else msgspec.structs.replace(up, down=await _plan_way(down))


async def _plan_way(settings: ReplicatorSettings) -> Plan:
    async with open_ends(settings) as (source, target):
        if settings.naming.keep_names:
            await two_clusters(source, target)
        kept = await stored(target, settings.site)
        pauses = await paused(source, settings.site)
        there = await all_topics(target)
        topics = []
        for topic in await chosen(source, settings):
            found = await _planned(source, target, settings, topic, kept, there)
            pause = pauses.get(topic) or pauses.get(ALL)
            topics.append(msgspec.structs.replace(found, paused="" if pause is None else pause.why or "paused"))
        own = [each.name for each in (positions(settings.site), gaps(settings.site), manifest(settings.site, -1))]
        return Plan(
            settings.site,
            settings.source.brokers,
            settings.target.brokers,
            topics,
            [name for name in own if name not in there],
            _left_out(settings, await all_topics(source), {each.topic for each in topics}),
            settings.direction,
        )


def _left_out(settings: ReplicatorSettings, here: dict[str, int], taken: set[str]) -> dict[str, str]:
    """Topics of the site that are not shipped, and why; the cloud has others' topics, too."""
    naming = settings.names
    found: dict[str, str] = {}
    if settings.direction == "down":
        return found
    for topic in sorted(here.keys() - taken):
        if naming.is_internal(topic):
            found[topic] = "belongs to a cluster or a link itself"
        elif naming.came_from_target(topic):
            found[topic] = f"came from {naming.target}"
        else:
            found[topic] = "not chosen by topics or selection.include"
    return found


async def _planned(
    source: Cluster, target: Cluster, settings: ReplicatorSettings, topic: str, kept: Kept, there: dict[str, int]
) -> PlannedTopic:
    name = settings.names.remote(topic)
    try:
        spec = await targets.spec_at_source(source, topic)
        chain_of(settings, topic)
    except Transient as error:
        return PlannedTopic(topic, name, "wait", str(error), targets.made_by(topic))
    except Permanent as error:
        return PlannedTopic(topic, name, "refuse", str(error), error.hint)
    stands = [position_in(kept, topic, partition) for partition in range(spec.partitions)]
    is_there = name in there
    limits = await losses.limits_of(target, name) if is_there else limits_in({**spec.configs, **targets.FAITHFUL})
    compacted = "source" if targets.is_compacted(spec) else "target" if limits.compacted else ""
    engine, by = engine_of(settings, topic, compacted, stands)
    leaps = not by and settings.link.fresh_first.has(topic)
    backlog = settings.backlog_way(topic, 0).target if leaps else ""
    common = PlannedTopic(topic, name, "create", engine=engine, by=by, partitions=spec.partitions, backlog=backlog)
    if not is_there:
        return await _with_backlog(source, common, kept, limits)
    try:
        common = await _into(source, target, common, spec, there[name])
        foreign = await _foreign(target, settings, common, kept)
    except Permanent as error:
        return msgspec.structs.replace(common, action="refuse", why=str(error), hint=error.hint)
    if common.action == "refuse":
        return common
    return foreign or await _with_backlog(source, common, kept, limits)


async def _into(source: Cluster, target: Cluster, found: PlannedTopic, spec: TopicSpec, has: int) -> PlannedTopic:
    """A topic that is there already."""
    kind = (await topic_configs(target, found.target, [_KEPT_RECORD_TIME])).get(_KEPT_RECORD_TIME)
    if kind not in {None, "CreateTime"}:
        why = f"topic {found.target} has {_KEPT_RECORD_TIME}={kind}: records would lose the time of the site"
        hint = f"set {_KEPT_RECORD_TIME}=CreateTime on {found.target}"
        return msgspec.structs.replace(found, action="refuse", why=why, hint=hint)
    return msgspec.structs.replace(
        found,
        action="ship",
        added_partitions=max(spec.partitions - has, 0),
        drift=await drift(source, target, found.topic, found.target),
    )


async def _foreign(
    target: Cluster, settings: ReplicatorSettings, found: PlannedTopic, kept: Kept
) -> PlannedTopic | None:
    """Refuse a topic with records that this link has not written."""
    ends = await target.offsets(found.target, "latest")
    for partition, end in ends.items():
        way, position = settings.way(found.topic, partition), position_in(kept, found.topic, partition)
        why = ""
        if end and found.engine != BatchEngine.name:
            why = await _foreign_tail(target, way, 0 if position is None else position.target_next, kept)
        elif end and position is None:
            why = f"{way} has {end} records, but no position is stored for it"
        if why:
            hint = "the positions topic was deleted, or somebody else made the topic; ship to a new site name"
            return msgspec.structs.replace(found, action="refuse", why=why, hint=hint)
    return None


async def _foreign_tail(target: Cluster, way: Way, known: int, kept: Kept) -> str:
    """What is wrong with the last record of a partition that goes record by record, if it is behind the known ones."""
    for last in await read_tail(target, way.target, way.partition, 1):
        if last.offset < known or source_offset(last) is not None:
            continue
        first, end = await logs.bounds(target, way.target, way.partition)
        batch = await logs.last_batch(target, way.target, way.partition, first, end)
        stored = kept.get(PRODUCER_KEY)
        ours = stored and decode(stored.value, Identity, "the producer of the link").pid
        if batch is None or batch.producer_id != ours:  # ours: it went by batches until the target was compacted
            return f"{way} offset {last.offset} names no offset of the source: somebody else writes to it"
    return ""


async def _with_backlog(source: Cluster, found: PlannedTopic, kept: Kept, limits: Limits) -> PlannedTopic:
    """How much there is to ship."""
    firsts, ends = await source.offsets(found.topic, "earliest"), await source.offsets(found.topic, "latest")
    young: dict[int, int | None] = {}
    if limits.retention_ms < NO_LIMIT:
        young = await source.offset_at(found.topic, max(now_ms() - limits.retention_ms, 0))
    records = void = 0
    is_first = True
    for partition, end in ends.items():
        position = position_in(kept, found.topic, partition)
        at = firsts[partition] if position is None else max(position.source_next, firsts[partition])
        is_first &= position is None
        records += max(end - at, 0)
        if young:
            from_there = young[partition]
            void += max((end if from_there is None else from_there) - at, 0)
    return msgspec.structs.replace(found, records=records, is_new=is_first, void=void)
