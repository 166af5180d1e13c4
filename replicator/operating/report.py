"""What is known of a link now: from both clusters, from its process, and from its last word where clusters are away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import msgspec

from headwater.contract.errors import Transient, Unreachable
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from replicator.ends import ENDS, setting_of
from replicator.engine import now_ms
from replicator.operating.live import PartitionView, Snapshot, ask, folder_of, last_known
from replicator.operating.pausing import paused
from replicator.settings import ReplicatorSettings
from replicator.status import LinkStatus, PartitionStatus, TopicStatus, link_status
from replicator.way import BACKLOG


class Report(msgspec.Struct, frozen=True):
    """As `LinkStatus`, and more. `away`: clusters that do not answer, and why; then `as_of_ms` says when `topics` held.

    `process`: what the replicator of this machine tells, or told last; `is_live`: that it runs. `paused` is by topic,
    `*` for all.
    """

    site: str
    topics: list[TopicStatus]
    stored_ms: int | None
    running: bool | None
    away: dict[str, str] = {}
    as_of_ms: int | None = None
    is_live: bool = False
    process: Snapshot | None = None
    paused: dict[str, str] = {}
    direction: str = "up"
    down: Report | None = None

    @property
    def ways(self) -> list[Report]:
        """Both ways, this one first."""
        return [self] if self.down is None else [self, self.down]

    @property
    def exit_code(self) -> int:
        """That of a halted or doubted partition of either way, 8 where records are gone, 5 while a cluster is away."""
        code = max(LinkStatus(each.site, each.topics).exit_code for each in self.ways)
        if not code and self.is_live and self.process is not None:
            code = self.process.trouble_code
        return code or (Transient.exit_code if self.away else 0)

    def check_code(self, most_lag_s: float | None) -> int:
        """As `exit_code`, and 5 where something waits and nobody ships it, or for longer than `most_lag_s` seconds."""
        late = [each for each in self._partitions() if most_lag_s is not None and each.lag_s > most_lag_s]
        alone = any(way.running is False and not way.paused for way in self.ways)
        return self.exit_code or (Transient.exit_code if late or alone else 0)

    def _partitions(self) -> list[PartitionStatus]:
        return [each for way in self.ways for topic in way.topics for each in topic.partitions]


_Reached = Cluster | Unreachable


async def report(settings: ReplicatorSettings) -> Report:
    """Ask whom there is to ask; Unreachable where a cluster is away and nothing is known of the link."""
    process, is_live = await asyncio.to_thread(_process, settings.site)
    async with AsyncExitStack() as stack:
        site, cloud = [await _reached(stack, settings, each) for each in (settings.source, settings.target)]
        up = await _way(settings, site, cloud, process, is_live)
        down = settings.down_link
        if down is None:
            return up
        told = None if process is None else process.down
        with suppress(Unreachable):  # which the way up says too
            return msgspec.structs.replace(up, down=await _way(down, cloud, site, told, is_live))
        return up


async def _way(
    settings: ReplicatorSettings, source: _Reached, target: _Reached, process: Snapshot | None, is_live: bool
) -> Report:
    if isinstance(source, Cluster) and isinstance(target, Cluster):
        with suppress(Unreachable):  # one has gone away since
            found = await link_status(settings)
            now = Report(found.site, found.topics, found.stored_ms, found.running, direction=settings.direction)
            now = msgspec.structs.replace(now, is_live=is_live, process=process)
            return msgspec.structs.replace(now, paused=await _paused(settings, source))
    away = {name: str(each) for name, each in (("source", source), ("target", target)) if isinstance(each, Unreachable)}
    if process is None:
        named = [f"the {end} ({setting_of(settings, end)}): {away[end]}" for end in ENDS if end in away]
        raise Unreachable(
            "; ".join(named) or "a cluster has gone away",
            hint="nothing is known of this link here: no replicator has run on this machine",
        )
    topics = await _last_known(process, source if isinstance(source, Cluster) else None)
    held = {} if not isinstance(source, Cluster) else await _paused(settings, source)
    return Report(
        settings.site, topics, process.reached_ms or None, is_live or None, away, process.at, is_live, process,
        held or process.paused, settings.direction,
    )  # fmt: skip


def _process(site: str) -> tuple[Snapshot | None, bool]:
    try:
        return ask(folder_of(site)), True
    except Unreachable:
        return last_known(folder_of(site)), False


async def _reached(stack: AsyncExitStack, settings: ReplicatorSettings, end: KafkaSettings) -> Cluster | Unreachable:
    cluster = Cluster(end, client_id=f"headwater-status-{settings.site}")
    try:
        return await stack.enter_async_context(cluster)
    except Unreachable as error:
        return error


async def _paused(settings: ReplicatorSettings, source: Cluster) -> dict[str, str]:
    found = await paused(source, settings.site)
    return {topic: each.why or f"by {each.by or 'somebody'}" for topic, each in found.items()}


async def _last_known(process: Snapshot, source: Cluster | None) -> list[TopicStatus]:
    """What the process told, with what has come at the source since, where that answers."""
    topics: dict[str, list[PartitionView]] = {}
    for each in process.partitions:
        topics.setdefault(each.topic, []).append(each)
    found = []
    for topic, views in topics.items():
        ends: dict[int, int] = {}
        if source is not None and not topic.endswith(BACKLOG):
            with suppress(Transient):
                ends = await source.offsets(topic, "latest")
        partitions = [_from_view(each, ends.get(each.partition), process.at) for each in _ordered(views)]
        found.append(TopicStatus(topic, views[0].target, views[0].engine, partitions, []))
    return found


def _ordered(views: Sequence[PartitionView]) -> list[PartitionView]:
    return sorted(views, key=lambda each: each.partition)


def _from_view(view: PartitionView, end: int | None, at: int) -> PartitionStatus:
    lag = view.lag_records if end is None else max(end - view.source_next, 0)
    since = max(now_ms() - at, 0) / 1000
    lag_s = ((view.age_ms or 0) / 1000 + since) if lag else 0.0
    return PartitionStatus(
        view.partition,
        "halted" if view.halted else "not started" if view.source_next < 0 else "behind" if lag else "up to date",
        max(view.target_next, 0),
        lag,
        lag_s,
        None,
        engine=view.engine,
        halted=view.halted,
        hint=view.hint,
        exit_code=view.exit_code,
        safe_to_delete=view.safe_to_delete,
    )
