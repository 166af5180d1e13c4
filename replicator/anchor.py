"""The sequence anchor: from the target's own record of the last batch to the exact source offset to go on from.

Why it is sound. Within one era (position.py) record number n of a partition is fixed: it is the n-th committed data
record at or after `source_first`, and a log that is neither compacted nor cut never changes that. The batch that
carries it is written under the link's one producer id, with the era as epoch and n (mod 2^31) as sequence. So:

1. Kafka appends a batch only if its first sequence follows the last one, or if it knows nothing of the producer. What a
   killed life still has under way is therefore either the next batch, the same as we would send; or an exact repeat of
   one of the last five, answered as success; or refused (45). It never takes the place of other records.
2. After a crash, a lost connection or a 45, the target says which sequence came last (DescribeProducers; if the broker
   has forgotten it, the last batch in the log). Numbers follow, and a count of the source from the last stored position
   gives the offset. Nothing is guessed from what was sent.
3. A gap changes what a number means. It begins a new era, stored before its first use: the epoch grows by one, the
   numbers start at 0, and from the first batch on Kafka refuses everything of the era before (47).
4. The producer id is drawn once for all lives (journal.py); target offsets that do not follow the numbers show that
   somebody else writes to the topic.

What the count cannot see, a source log that lost its end in a power cut and grew again, shows in the marks of the
position and in the last record of the target, which is compared with the one that the count ended on.

Outside of the proof: Kafka forgets a producer when the newest record that it wrote, by the record's own time, is older
than producer.id.expiration.ms (a day), looked at every ten minutes; then it takes any sequence. So a batch that stays
under way while that happens can be taken twice: when old records are shipped, or after more than a day on the road.
Target offsets then no longer follow the numbers, which the next acknowledgement or anchor sees; the repeats are named
in a gap record, and a new era goes on behind them, without losing a record. In the same way a batch can be taken
although the one before it, which was under way with it, was refused: then the target's log is shorter than the numbers
say. What came behind the hole counts as repeats, and all of it is shipped again in the new era.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import NamedTuple

import structlog
from msgspec import structs

from headwater.contract.errors import DataMissing, Transient
from headwater.transport.kafka_batch import Batch, Cluster, records
from replicator import logs
from replicator.logs import Counted, Start
from replicator.misplaced import misplaced
from replicator.numbering import WRAP, Recount, TargetState, recount, shipped
from replicator.position import DIVERGED, DOUBLED, RECREATED, RETENTION, TRUNCATED, Mark, Position, thinned
from replicator.quarantine import same
from replicator.twins import twin
from replicator.way import Way

_log = structlog.get_logger(__name__)


class Lost(NamedTuple):
    """The era cannot go on; the fields are those of position.Gap."""

    cause: str
    first: int
    end: int
    resumed_at: int


def known_cause(lost: Lost, position: Position, source_id: str) -> Lost:
    """With the cause that the id of the source's topic tells, if it does."""
    made_anew = is_made_anew(position, source_id)
    return lost._replace(cause=RECREATED) if made_anew and lost.cause in {DIVERGED, TRUNCATED} else lost


def is_made_anew(position: Position, source_id: str) -> bool:
    """Whether the source's topic has another id than the one that was shipped."""
    return bool(source_id and position.source_id and source_id != position.source_id)


class Anchor:
    """Finds partitions' places; one at a time, since each may hold some MiB of a log."""

    def __init__(self, probe: Cluster, target: Cluster) -> None:
        self._probe = probe
        self._target = target
        self._one = asyncio.Lock()

    async def locate(
        self, way: Way, position: Position, pid: int, source_id: str = "", sent: Sequence[Mark] = ()
    ) -> Position | Lost:
        """Where to go on; Transient while a cluster is away, Fenced and Refused as in the module numbering.

        `source_id` is the id of the source's topic now, where it has one. `sent`: what this life had under way.
        """
        state = await logs.look(self._target, way, pid, position.target_first)
        number = shipped(position, state, str(way))
        made_anew = is_made_anew(position, source_id)
        async with self._one:
            if state.log_end == position.target_first + number:
                return await _Search(self._probe, self._target, way, position, state, number, made_anew, sent).run()
            held = await misplaced(self._target, way, position, pid, state, number)
            if isinstance(held, Position):
                return await _Search(self._probe, self._target, way, held, state, number, made_anew).run()
            if held is not None:
                kept = max(held[0] - position.target_first, 0)
                return await self._with_repeats(way, position, state, kept, held, made_anew=made_anew)
            start = max(position.target_next, state.log_start)
            counted = recount(position, pid, await logs.stamps(self._target, way, start, state.log_end), str(way))
            if state.log_end < position.target_first + number and counted.strays is None:
                return await _Search(self._probe, self._target, way, position, state, number, made_anew).run()
            return await self._with_other_than_was_shipped(way, position, state, counted, made_anew=made_anew)

    async def _with_other_than_was_shipped(
        self, way: Way, position: Position, state: TargetState, counted: Recount, *, made_anew: bool
    ) -> Position | Lost:
        """The target's log is longer than the record numbers say, or has a hole: its batches tell what it holds."""
        if state.epoch == position.era and counted.last_sequence != state.last_sequence % WRAP:
            raise Transient(f"{way}: the leader has more than its replicas")
        if counted.strays is None:  # late batches of the former era came before the first of this one
            position = structs.replace(position, target_next=counted.target_next - counted.number + position.count)
            return await _Search(self._probe, self._target, way, position, state, counted.number, made_anew).run()
        return await self._with_repeats(way, position, state, counted.number, counted.strays, made_anew=made_anew)

    async def _with_repeats(
        self, way: Way, position: Position, state: TargetState, number: int, strays: tuple[int, int], *, made_anew: bool
    ) -> Lost:
        """A new era behind `number` records, since what came behind them at the target is not what belongs there."""
        emptied = state._replace(log_start=state.log_end)  # offsets and numbers do not agree: nothing to compare
        found = await _Search(self._probe, self._target, way, position, emptied, number, made_anew).run()
        return found if isinstance(found, Lost) else Lost(DOUBLED, *strays, found.source_next)


class _Search(NamedTuple):
    """One search for record `number` of the era of `position`.

    `made_anew`: the source's topic has another id, so that its log is the same as far as its records are.
    """

    probe: Cluster
    target: Cluster
    way: Way
    position: Position
    state: TargetState
    number: int
    made_anew: bool = False
    sent: Sequence[Mark] = ()

    async def run(self) -> Position | Lost:
        first, end = await logs.bounds(self.probe, self.way.topic, self.way.partition)
        if self.made_anew:
            return await self._the_same_after_all(first, end)
        known, parted = await self._known(first, end)
        if parted:
            return await self._part(known, first, end)
        start = self._start(first)
        if start.offset < first:
            return await self._behind(start, first, end)
        counted = await logs.count_on(self.probe, self.way, start, self.number, end)
        if counted.count < self.number or not (await self._is_sent(counted) or await self._confirmed(counted)):
            return await self._part(start, first, end)
        return self._at(counted)

    async def _the_same_after_all(self, first: int, end: int) -> Position | Lost:
        """A topic with another id may hold the same log, restored from a copy: where all shipped records are in it.

        Marks do not tell, since some may be of what was shipped before the new id was seen. What cannot be compared,
        as the source or the target has deleted it, counts as another log: that doubles records, and loses none.
        """
        position = self.position
        deleted = self.state.log_start - position.target_first
        if not self.number and first == position.source_next:
            return position
        if self.number <= deleted or not first <= position.source_first <= end:
            return self._diverged(first, end)
        return await self._part(None, first, end)

    async def _known(self, first: int, end: int) -> tuple[Start | None, bool]:
        """The newest mark that the source log still has, and whether a newer one is missing from it.

        Where its batch is another one, it may hold the same records: some brokers write batches anew.
        """
        missing = self.position.source_next > end
        for mark in reversed(self.position.trail):
            if mark.base < first:  # deleted by retention: no proof either way
                break
            if mark.next <= end and (await logs.is_marked(self.probe, self.way, mark) or await self._rewritten(mark)):
                return Start(mark.next, mark.count), missing
            missing = True
        return None, missing

    async def _rewritten(self, mark: Mark) -> bool:
        """Whether the source has the records of a mark's batch, as the target does, in other batches."""
        start = max(mark.base, self.position.source_first)
        async with aclosing(logs.contents(self.probe, self.way.topic, self.way.partition, start, mark.next)) as ours:
            count = len([record async for record in ours])
        first = mark.count - count
        if not count or mark.count > self.number or self.position.target_first + first < self.state.log_start:
            return False
        here = Start(start, first)
        found = await logs.common(self.probe, self.target, self.way, self.position, here, mark.count, mark.next)
        return found.count == mark.count

    def _start(self, first: int) -> Start:
        """Where to count from: the position, or further back where the target has lost acknowledged records."""
        position = self.position
        if self.number >= position.count:
            return Start(position.source_next, position.count)
        _log.warning(
            "the target lost acknowledged records", way=str(self.way), kept=self.number, acknowledged=position.count
        )
        for mark in reversed(position.trail):
            if mark.count <= self.number and mark.next >= first:
                return Start(mark.next, mark.count)
        return Start(position.source_first, 0)

    async def _behind(self, start: Start, first: int, end: int) -> Position | Lost:
        """Retention has passed `start`: was all that it deleted shipped? The target's last records tell."""
        beyond = self.number - start.count  # records shipped after `start`: no more of them can be left
        if beyond:
            last = await self._last_batch()
            least = start.offset + beyond
            found = None if last is None else await twin(self.probe, self.way, last, first, end, beyond, least)
            if found is not None:
                return self._at(Counted(found, self.number, None))
        return Lost(RETENTION, start.offset + self.number - start.count, first, first)

    async def _is_sent(self, counted: Counted) -> bool:
        """Whether it is this life that sent so much, and the source still has the last batch of it."""
        for mark in self.sent:
            if (mark.next, mark.count) == (counted.offset, counted.count):
                return await logs.is_marked(self.probe, self.way, mark)
        return False

    async def _confirmed(self, counted: Counted) -> bool:
        """Whether the record that the count ended on is the last one of the target."""
        if counted.last is None:
            return True
        last = await self._last_batch()
        if last is None:
            return True
        return same(records(last)[-1], logs.last_before(counted.last, counted.offset))

    async def _last_batch(self) -> Batch | None:
        """The target's batch that ends with the last record of this era, or None if it has been deleted."""
        end = self.position.target_first + self.number
        way = self.way
        try:
            return await logs.last_batch(self.target, way.target, way.partition, self.state.log_start, end)
        except DataMissing as error:  # the leader has it, its replicas have not
            waits = f"{way}: the leader has records up to offset {end - 1}, its replicas have not ({error})"
            raise Transient(f"{waits}; if that lasts, bring the replicas of {way.target} into sync") from error

    async def _part(self, known: Start | None, first: int, end: int) -> Position | Lost:
        """The source has another log than before: find where the two part, from the last place that they share."""
        position = self.position
        start = known or Start(position.source_first, 0)
        if not first <= start.offset <= end:
            return self._diverged(first, end)
        kept = max(start.count, self.state.log_start - position.target_first)
        counted = await logs.count_on(self.probe, self.way, start, kept, end)
        if counted.count < kept:
            return self._diverged(first if self.made_anew else counted.offset, end)
        here = Start(counted.offset, counted.count)
        parted = await logs.common(self.probe, self.target, self.way, position, here, self.number, end)
        if parted.count == self.number:
            return self._at(Counted(parted.offset, parted.count, None))
        # Of a topic that was made again and has nothing of this era, nothing was shipped before the era either.
        return self._diverged(first if self.made_anew and parted.count == kept else parted.offset, end)

    def _diverged(self, at: int, end: int) -> Lost:
        """A source log that is another one from offset `at` on, and ends at `end`."""
        shipped_to = self.position.source_next
        return Lost(TRUNCATED if shipped_to > end else DIVERGED, min(at, shipped_to), shipped_to, at)

    def _at(self, counted: Counted) -> Position:
        position = self.position
        trail = tuple(mark for mark in position.trail if mark.count <= counted.count and mark.next <= counted.offset)
        last = counted.last
        if last is not None and last.last_offset < counted.offset:
            trail = thinned(trail, Mark(last.base_offset, counted.offset, last.crc, counted.count))
        return Position(
            era=position.era,
            source_first=position.source_first,
            source_next=counted.offset,
            count=counted.count,
            target_next=position.target_first + counted.count,
            trail=trail,
            at=position.at,
        )
