"""The scorer's loop: fetch, judge, write, remember, swap. One task; nothing in it runs beside something else.

Killing it at any instruction is safe. Everything that Kafka has not acknowledged is done again by the next life from
the last checkpoint, and what the ends of the topics show is left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import structlog

from edge_agent.scorer import partition as counted
from edge_agent.scorer import swap
from edge_agent.scorer.desired import DesiredFile
from edge_agent.scorer.feed import Chunk, chunks
from edge_agent.scorer.judge import Judge
from edge_agent.scorer.ledger import Ledger
from edge_agent.scorer.metrics import Counts
from edge_agent.scorer.models import Id
from edge_agent.scorer.partition import Partition
from edge_agent.scorer.roster import Roster
from edge_agent.scorer.settings import ScorerSettings
from edge_agent.scorer.status import VOID, status
from headwater.contract import topics
from headwater.contract.desired import Desired
from headwater.contract.errors import DataMissing, Transient
from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.calls import Fetched
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.lifecycle import sleep_or_stop
from headwater.transport.retry import pauses

_log = structlog.get_logger(__name__)
_AWAY_S = 0.1  # pause while a partition has no leader
_REFENCE_S = 24 * 3600.0  # Kafka forgets a transactional id after seven days without use
_RELOAD_S = 1.0  # how often a version in charge that cannot be loaded is tried again


class Scorer:
    """Owns the partitions from recovery to the last checkpoint; `seq` is that of the last status written."""

    def __init__(
        self,
        site: str,
        settings: ScorerSettings,
        cluster: Cluster,
        ledger: Ledger,
        roster: Roster,
        desired: DesiredFile,
        partitions: Sequence[Partition],
        *,
        counts: Counts,
        runtime: str,
        seq: int,
    ) -> None:
        self._site = site
        self._settings = settings
        self._cluster = cluster
        self._ledger = ledger
        self._roster = roster
        self._file = desired
        self._partitions = {partition.number: partition for partition in partitions}
        self._counts = counts
        self._runtime = runtime
        self._seq = seq
        self._desired = Desired()
        self._changed = True  # a status is due
        self._unplaced = True  # a swap may be due
        self._status_at = self._checkpoint_at = self._reload_at = self._refence_at = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then leave a checkpoint and a last status. Fenced: a later life has taken over."""
        self._reload()
        self._checkpoint_at = time.monotonic() + self._settings.checkpoint_interval_s
        self._refence_at = time.monotonic() + _REFENCE_S
        waits = pauses()
        while not stop.is_set():
            await self._follow()
            await self._timers()
            try:
                fetched = await self._fetch(stop)
            except Transient as error:
                pause = next(waits)
                _log.warning("readings cannot be fetched", why=str(error), pause_s=round(pause, 2))
                await sleep_or_stop(stop, pause)
                continue
            waits = pauses()
            await self._work(fetched)
        await self._checkpoint(lambda partition: partition.position > partition.checkpointed or bool(partition.dirty))
        await self._write_status()

    async def _fetch(self, stop: asyncio.Event) -> list[Fetched]:
        """New records of every partition that is not held; Transient when none can be fetched at present."""
        held = {number for number, partition in self._partitions.items() if self._is_held(partition)}
        want = {(topics.READINGS, n): p.position for n, p in self._partitions.items() if n not in held}
        if not want:
            await sleep_or_stop(stop, self._settings.poll_interval_s)
            return []
        fetched = await self._cluster.fetch(
            want,
            max_wait_ms=int(self._settings.poll_interval_s * 1000),
            max_bytes=self._settings.fetch_bytes,
            partition_max_bytes=max(self._settings.fetch_bytes // len(want), 1 << 16),
            read_committed=True,
        )
        bad = [part for part in fetched if part.error]
        for part in bad:
            if part.error == codes.OFFSET_OUT_OF_RANGE:
                await self._relocate(self._partitions[part.partition])
            elif not codes.retriable(part.error) or len(bad) == len(fetched):
                codes.check(part.error, f"reading {topics.READINGS}[{part.partition}]")
        good = [part for part in fetched if not part.error]
        if bad and not any(part.data for part in good):
            await sleep_or_stop(stop, _AWAY_S)  # an error comes at once, without the wait that a fetch makes
        return good

    def _is_held(self, partition: Partition) -> bool:
        """Whether the next reading waits for its model: going on without would leave its window unscored."""
        unloaded = bool(partition.unloaded(self._roster.loaded.keys()))
        return unloaded and partition.position > partition.settled(can_score=False)

    async def _relocate(self, partition: Partition) -> None:
        """The position is not in the log: go on where the log begins, or end when it is behind the log's end."""
        first = (await self._cluster.offsets(topics.READINGS, "earliest"))[partition.number]
        if partition.position > first:
            raise DataMissing(
                f"{topics.READINGS}[{partition.number}] ends before offset {partition.position}, which was scored",
                hint="the topic was made anew: delete the topics scores, alarms, dead-letters and state as well",
            )
        missed = first - partition.position
        _log.error("readings lost to retention", partition=partition.number, first=partition.position, count=missed)
        partition.count(counted.MISSED, missed)
        partition.dirty.update(partition.windows.lose())
        partition.position = first
        self._changed = True

    async def _work(self, fetched: Sequence[Fetched]) -> None:
        """Judge what came, a chunk of each partition at a time."""
        feeds = {part.partition: self._feed(part) for part in fetched}
        ends = {part.partition: part.high_watermark for part in fetched}
        while feeds:
            taken: list[tuple[Partition, Chunk]] = []
            for number in list(feeds):
                chunk = next(feeds[number], None)
                if chunk is None:
                    del feeds[number]
                else:
                    taken.append((self._partitions[number], chunk))
            if taken:
                await self._settle(taken)
                for partition, _ in taken:
                    lag = max(0, ends[partition.number] - partition.position)
                    self._counts.lag[partition.number] = lag
                await self._timers()
                await asyncio.sleep(0)

    def _feed(self, part: Fetched) -> Iterator[Chunk]:
        partition = self._partitions[part.partition]
        unloaded = bool(partition.unloaded(self._roster.loaded.keys()))
        until = partition.settled(can_score=False) + 1 if unloaded else None
        return chunks(part, partition.position, self._settings.chunk_readings, until=until)

    async def _settle(self, taken: Sequence[tuple[Partition, Chunk]]) -> None:
        now_ms = _now_ms()
        judge = Judge(self._site, self._roster.loaded)
        verdicts = [(partition, judge.judge(partition, chunk.records, now_ms)) for partition, chunk in taken]
        await self._ledger.settle(verdicts, now_ms)
        done_ms = _now_ms()
        for partition, chunk in taken:
            partition.position = chunk.upto
            self._counts.readings += len(chunk.records)
            if chunk.records:
                self._counts.delayed(max(0, done_ms - chunk.records[0].timestamp_ms) / 1000)

    async def _follow(self) -> None:
        """Read desired.json if it changed, and swap what it asks for as soon as nothing is replaying."""
        found = self._file.poll()
        if found is not None:
            self._changed |= _is_news(self._desired, found)
            self._desired = found
            self._unplaced = True
        if not self._unplaced or any(self._is_replaying(partition) for partition in self._partitions.values()):
            return
        self._unplaced = False
        partitions = list(self._partitions.values())
        incoming = {}
        for name, wanted in swap.due(partitions, self._desired).items():
            self._changed = True
            loaded = self._roster.want(Id.of(name, wanted), wanted.generation, _now_ms())
            if loaded is not None:
                incoming[name] = swap.Incoming(loaded, wanted)
        if incoming:
            await swap.swap(self._cluster, self._ledger, partitions, incoming, self._settings.rewind_readings)
            self._roster.keep(self._in_charge())

    def _is_replaying(self, partition: Partition) -> bool:
        can_score = not partition.unloaded(self._roster.loaded.keys())
        return partition.position <= partition.settled(can_score=can_score)

    def _in_charge(self) -> set[Id]:
        return {Id.of(c.asset_class, c) for p in self._partitions.values() for c in p.charges.values()}

    def _reload(self) -> None:
        """Load the versions in charge that are not loaded."""
        self._reload_at = time.monotonic() + _RELOAD_S
        before = len(self._roster.refused)
        for wanted in sorted(self._in_charge() - self._roster.loaded.keys()):
            self._roster.want(wanted, 0, _now_ms())
        self._changed |= len(self._roster.refused) != before
        for each in self._in_charge() & self._roster.loaded.keys():
            self._counts.versions[each.asset_class] = each.version

    async def _timers(self) -> None:
        now = time.monotonic()
        if now >= self._reload_at:
            self._reload()
        if now >= self._refence_at:
            self._refence_at = now + _REFENCE_S
            await self._ledger.refence()
        if now >= self._checkpoint_at:
            self._checkpoint_at = now + self._settings.checkpoint_interval_s
            await self._checkpoint(lambda partition: partition.position > partition.checkpointed)
        else:
            most = self._settings.checkpoint_readings
            await self._checkpoint(lambda partition: partition.position - max(partition.checkpointed, 0) >= most)
        if self._changed or now >= self._status_at:
            await self._write_status()

    async def _checkpoint(self, is_due: Callable[[Partition], bool]) -> None:
        due = [partition for partition in self._partitions.values() if is_due(partition)]
        await asyncio.gather(*(self._ledger.checkpoint(partition, _now_ms()) for partition in due))

    async def _write_status(self) -> None:
        self._changed = False
        self._status_at = time.monotonic() + self._settings.status_interval_s
        self._seq += 1
        partitions, refused = list(self._partitions.values()), self._roster.refused
        now_ms = _now_ms()
        told = status(self._site, self._seq, now_ms, self._runtime, partitions, self._desired, refused)
        self._counts.void = told.counts[VOID]
        await self._ledger.status(told, now_ms)


def _is_news(before: Desired, after: Desired) -> bool:
    """Whether more changed than the time of the updater's last look."""
    timeless = msgspec.structs.replace(after.updater, checked_at=before.updater.checked_at)
    return msgspec.structs.replace(after, updater=timeless) != before


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
