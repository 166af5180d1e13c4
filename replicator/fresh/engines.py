"""The two streams of a topic that ships what is new first, both by sequence anchor (anchor.py), each once.

At a leap the live stream begins a new era at the last batch of the source's log. What it leaves out goes to the backlog
stream in eras of its own. The live stream's first batch of the new era shuts out what a former life may have under way
(rule 3 of docs/adr/replicator-exactly-once.md): only then it is known where the backlog begins (backlog.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from msgspec import Struct, structs

from headwater.contract.errors import Defect
from headwater.transport.kafka_batch import Batch, Record
from replicator.anchor import Lost
from replicator.batch_engine import BatchEngine
from replicator.engine import Ends, Unsettled
from replicator.fresh.aside import DEFERRED, Range
from replicator.journal import NOTHING
from replicator.position import DIVERGED, DOUBLED, RECREATED, TRUNCATED, Gap, Position
from replicator.way import Way

OTHER_LOG = (RECREATED, DIVERGED, TRUNCATED)
Store = Callable[[Mapping[bytes, Struct]], Awaitable[Position]]


class Keeper(Protocol):
    """What the live stream asks of the backlog; see `Backlog`."""

    async def due(self, position: Position) -> Lost | None:
        """What is to be set aside now."""
        ...

    async def set_aside(self, new: Range, store: Store) -> Position:
        """Have one more range stored together with the new era, whose position is returned."""
        ...

    async def cut(self, end: int, cause: str, store: Store) -> Position:
        """Have what is set aside end at an offset, together with the new era."""
        ...


class FreshEngine(BatchEngine):
    """The live stream."""

    def __init__(self, way: Way, ends: Ends, backlog: Keeper) -> None:
        super().__init__(way, ends)
        self._backlog = backlog
        self._late = ""

    def look_again(self, why: str) -> None:
        """Anchor before the next batches: what waits may be old enough to be set aside."""
        self._late = why

    def _passes(self, batch: Batch, now: int) -> bool:
        if self._late:
            raise Unsettled(f"{self.way}: {self._late}")
        return super()._passes(batch, now)

    async def _set_aside(self, position: Position) -> Lost | None:
        self._late = ""
        return await self._backlog.due(position)

    async def _next_era(self, position: Position, lost: Lost, source_id: str) -> Position:
        if lost.cause != DEFERRED:
            if position.era and lost.cause in OTHER_LOG and lost.resumed_at <= position.source_first:
                # They may part before this era, where both streams have shipped: all is shipped again, so none is lost.
                first = (await self._ends.probe.offsets(self.way.topic, "earliest"))[self.way.partition]
                lost = lost._replace(first=min(lost.first, first), resumed_at=first)
            position = await super()._next_era(position, lost, source_id)
            leap = await self._backlog.due(position)
            if leap is None:
                return position
            lost = leap
        now, era = self._ends.clock(), position.era + 1
        gap = Gap(self.way.ledger, self.way.partition, *lost, era, now)
        before = structs.replace(position, trail=(), source_id="")
        new = Range(lost.first, lost.end, era, now, before, source_id)
        return await self._backlog.set_aside(new, lambda also: super(FreshEngine, self)._begun(gap, source_id, also))

    async def _begun(self, gap: Gap, source_id: str, also: Mapping[bytes, Struct] = NOTHING) -> Position:
        if gap.cause not in OTHER_LOG:
            return await super()._begun(gap, source_id, also)
        begin = super()._begun
        return await self._backlog.cut(gap.resumed_at, gap.cause, lambda more: begin(gap, source_id, more))


class BacklogEngine(BatchEngine):
    """The backlog stream. `until` gives the end of the range that is shipped."""

    def __init__(self, way: Way, ends: Ends, until: Callable[[], int]) -> None:
        super().__init__(way, ends)
        self._until = until

    def begin(self, position: Position) -> None:
        """Go on from a stored position at the next anchor."""
        self._acked, self._newest = position, None

    async def _first_contact(self, source_id: str = "") -> Position:  # noqa: ARG002  # as the one it overrides
        raise Defect(f"{self.way}: no range was begun")

    async def _next_era(self, position: Position, lost: Lost, source_id: str) -> Position:
        """As for any other; where the source has another log now, the live stream ships what is there."""
        end = self._until()
        if not end:  # the live stream was first to see it, and has named what was set aside
            return position
        if lost.cause in OTHER_LOG:
            lost = Lost(lost.cause, min(position.source_next, end), end, end)
        elif lost.cause == DOUBLED:
            lost = lost._replace(resumed_at=min(lost.resumed_at, end))
        else:
            lost = lost._replace(end=min(lost.end, end), resumed_at=min(lost.resumed_at, end))
        return await super()._next_era(position, lost, source_id)

    def _passes(self, batch: Batch, now: int) -> bool:
        return batch.last_offset < self._until() and super()._passes(batch, now)

    def _unsent(self, batch: Batch) -> list[Record]:
        end = self._until()
        return [each for each in super()._unsent(batch) if each.offset < end]
