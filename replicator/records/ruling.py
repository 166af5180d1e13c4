"""Rules of one partition over the lives of a link.

What was left out behind the last record at the target is looked at again by the next life, up to the stored position.
So the rules must do the same with the same records, and they do, as long as they are the same rules: a position says
which ones apply, since which offset, and from where on records must be read again to know what they had seen. Where the
rules have changed, the new ones begin where the target says that the old ones ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import structlog
from msgspec import structs

from headwater.transport.kafka_batch import Batch, Cluster, Record, records
from headwater.transport.kafka_batch.reading import walk
from replicator import logs
from replicator.account import Account
from replicator.journal import Journal
from replicator.position import Position, Ruled
from replicator.records.chain import Chain, Tally
from replicator.way import Way

_log = structlog.get_logger(__name__)


class Ruling:
    """`begin` with each anchor, then `apply` in the order of offsets, and `settled` when the target has it."""

    def __init__(self, way: Way, chain: Chain, probe: Cluster, journal: Journal, account: Account) -> None:
        self._way = way
        self._chain = chain
        self._probe = probe
        self._journal = journal
        self._account = account
        self._tally, self._is_sieved = Tally(), False

    @property
    def applies(self) -> bool:
        """Whether there is a rule; if not, there was one once."""
        return bool(self._chain.names)

    async def begin(self, position: Position) -> Position:
        """Know what must be known at a position; returns it as it is stored where other rules begin there."""
        way, chain, at = self._way, self._chain, position.ruled
        if at is None or at.digest != chain.digest or not _holds(at, position):
            began = position.source_next if chain.thins else None
            now = Ruled(chain.digest, position.source_next, position.target_next, began)
            position = structs.replace(position, ruled=now)
            await self._journal.store([(way, position)])
            chain.reset(position.source_next)
            _log.info("rules apply", way=str(way), rules=chain.names, from_offset=position.source_next)
        else:
            chain.reset(position.source_next if at.began is None else at.began)
            if at.began is not None:
                await self._read_again(at.began, position.source_next)
        return position

    async def _read_again(self, start: int, end: int) -> None:
        first, _ = await logs.bounds(self._probe, self._way.topic, self._way.partition)
        start = max(start, first)  # what retention has taken makes some more records pass, and none fewer
        if start >= end:
            return
        async with aclosing(walk(self._probe, self._way.topic, self._way.partition, start, end)) as walked:
            async for batch, is_data in walked:
                if is_data:
                    self._chain.apply([each for each in records(batch) if start <= each.offset < end])

    def read(self, batch: Batch) -> list[Record]:
        """The records of a batch, perhaps without some that the rules leave out; `apply` comes next."""
        self._tally = Tally()
        found = self._chain.sieved(batch, self._tally)
        self._is_sieved = found is not None
        return records(batch) if found is None else found

    def read_whole(self, batch: Batch) -> list[Record]:
        """As `read`, with all records."""
        self._tally, self._is_sieved = Tally(), False
        return records(batch)

    def apply(self, found: Sequence[Record], behind: int) -> list[Record]:
        """What is shipped of the records of the batch that was read, which ends before the source offset `behind`."""
        left = self._chain.apply(found, self._tally, sieved=self._is_sieved)
        self._chain.counted(self._tally, behind)
        return left

    def settled(self, position: Position) -> Position:
        """Count what was left out up to a position; returns it with what must be known to go on behind it."""
        tally = self._chain.settled(position.source_next)
        if tally:
            self._account.filtered(self._way, tally)
        began, at = self._chain.began, position.ruled
        if at is None or began is None or began == at.began or began > position.source_next:
            return position
        return structs.replace(position, ruled=structs.replace(at, began=began))


def _holds(at: Ruled, position: Position) -> bool:
    """Whether the position is not before the rules: a target that was restored takes it back."""
    known = max(at.source_since, at.source_since if at.began is None else at.began)
    return known <= position.source_next and at.target_since <= position.target_next
