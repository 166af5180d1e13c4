"""What a link owes an account of: gaps, replaced records, records that the target will not keep, halted partitions.

Each is logged, counted, and written to the target: gaps and replaced records before anything that follows them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from msgspec import structs

from headwater.contract.errors import HeadwaterError, Permanent
from headwater.transport.kafka_batch import Batch, Cluster
from replicator import notices
from replicator.fitting import Replaced
from replicator.journal import Journal
from replicator.limits import TopicLimits
from replicator.notices import Notice
from replicator.position import Gap
from replicator.records.chain import Tally
from replicator.standing import Standing, standing_key
from replicator.way import Way

if TYPE_CHECKING:
    from replicator.metrics import Metrics

_log = structlog.get_logger(__name__)
_LAST_WORD_S = 2.0
_REMEMBERED = 100_000  # notices
_TOLD = 5  # of the records that one batch has replaced


class Account:
    """One link's. `metrics` where somebody asks for them; `clock` is in ms since 1970."""

    def __init__(self, target: Cluster, journal: Journal, metrics: Metrics | None, clock: Callable[[], int]) -> None:
        self._target = target
        self._journal = journal
        self._metrics = metrics
        self._clock = clock
        self._limits: dict[str, TopicLimits] = {}
        self._standings: dict[Way, Standing] = {}
        self._kept: dict[Way, Standing] = {}
        self._void: dict[Way, int] = {}  # source offset behind the newest batch that was named
        self._said: set[tuple[Way, bytes]] = set()

    def limits(self, way: Way) -> TopicLimits:
        """The limits of a way's target topic, shared by its partitions."""
        return self._limits.setdefault(way.target, TopicLimits(self._target, way.target))

    def carried(self, way: Way, engine: str) -> None:
        """Say which engine carries a partition."""
        self._standings[way] = Standing(engine)

    async def gap(self, way: Way, gap: Gap, *, halted: bool) -> None:
        """Name a gap, before the era behind it begins or the partition halts."""
        if not self._is_new(way, notice := notices.of_gap(way, gap, halted=halted)):
            return
        if self._metrics is not None:
            self._metrics.on_gap(gap)
        _log.error("gap", site=way.site, halted=halted, **structs.asdict(gap))
        await self._journal.say([notice])

    async def replaced(self, way: Way, era: int, found: Sequence[Replaced]) -> None:
        """Name records before what stands for them is sent."""
        now = self._clock()
        said = [notices.of_replaced(way, era, each.record, each.reasons, now) for each in found]
        fresh = [notice for notice in said if self._is_new(way, notice)]
        if not fresh:
            return
        for notice in fresh[:_TOLD]:
            _log.error("record replaced", way=str(way), offset=notice.first, reason=notice.cause, size=notice.size)
        if len(fresh) > _TOLD:
            _log.error("more records replaced", way=str(way), count=len(fresh) - _TOLD, last_offset=fresh[-1].last)
        if self._metrics is not None:
            for notice in fresh:
                self._metrics.on_replaced(way, notice.cause)
        await self._journal.say(fresh)

    def _is_new(self, way: Way, notice: Notice) -> bool:
        known = (way, notice.key)
        new = known not in self._said
        if len(self._said) >= _REMEMBERED:
            self._said.clear()  # what is said again after that is said under the same key
        self._said.add(known)
        return new

    def void(self, way: Way, batch: Batch) -> None:
        """Name a batch before it is sent, if the target deletes it at once; the first one in words."""
        retention_ms = self.limits(way).now.retention_ms
        if batch.max_timestamp < 0:  # no time at all, as in logs of Kafka before 0.10: the broker counts by its own
            return
        if self._clock() - batch.max_timestamp <= retention_ms or batch.base_offset < self._void.get(way, 0):
            return
        self._void[way] = batch.last_offset + 1
        standing = self._standing(way)
        if not standing.void:
            _log.error(
                "older than the target keeps",
                way=str(way),
                from_offset=batch.base_offset,
                newest_ms=batch.max_timestamp,
                retention_ms=retention_ms,
                hint=f"raise retention.ms of {way.target}: it deletes what is shipped now",
            )
        self._change(way, void=standing.void + batch.count)
        if self._metrics is not None:
            self._metrics.on_void(way, batch.count)

    def reworked(self, way: Way, counts: dict[str, int]) -> None:
        """Say how many batches were not passed on whole, by why."""
        self._change(way, reworked=dict(counts))

    def filtered(self, way: Way, tally: Tally) -> None:
        """Count what rules have left out of what the position is behind now."""
        standing = self._standing(way)
        filtered = Counter(standing.filtered) + tally.filtered
        said = Counter({f"{rule}: {why}, {does}": count for (rule, why, does), count in tally.unreadable.items()})
        self._change(way, filtered=dict(filtered), unreadable=dict(Counter(standing.unreadable) + said))
        for each in said.keys() - standing.unreadable.keys():
            _log.warning("a rule cannot read a value", way=str(way), rule=each)
        if self._metrics is not None:
            self._metrics.on_filtered(way, tally)

    def _standing(self, way: Way) -> Standing:
        return self._standings.get(way) or Standing("batch")

    def _change(self, way: Way, **changed: object) -> None:
        self._standings[way] = structs.replace(self._standing(way), **changed)

    def refused(self, way: Way, error: Permanent) -> None:
        """Say that a topic cannot even begin; `way` is its first partition."""
        self._change(way, halted=str(error), hint=error.hint, exit_code=error.exit_code, tried=self._clock())
        if self._metrics is not None:
            self._metrics.on_refused(way.topic)

    def tried(self, way: Way) -> None:
        """Say that a partition that stands still was tried again."""
        self._change(way, tried=self._clock())

    async def store(self, halted: Mapping[Way, Permanent | None]) -> None:
        """Store how the partitions stand, where that has changed; `halted` says why they stand still."""
        for way, error in halted.items():
            if error is None:
                self._change(way, halted="", hint="", exit_code=0, tried=0)
            else:
                self._change(way, halted=str(error), hint=error.hint, exit_code=error.exit_code)
        changed = {way: each for way, each in self._standings.items() if self._kept.get(way) != each}
        await self._journal.keep({standing_key(way.ledger, way.partition): each for way, each in changed.items()})
        self._kept |= changed

    async def last_word(self, halted: Mapping[Way, Permanent | None]) -> None:
        """As `store`, where that is possible at once: a halted partition must not look well when the link has ended."""
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self.store(halted)
        except (TimeoutError, HeadwaterError) as error:
            _log.warning("how the partitions stand is not stored", why=str(error) or "the target does not answer")
