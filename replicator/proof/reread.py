"""What was shipped while nobody took note: read back from the target, and compared with the source where that has it.

A life that is killed leaves up to one entry's worth of batches that no entry covers; an acknowledgement that was lost
leaves a batch. Records are read over the link once more for it: at most 4 MiB a partition after a kill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

from headwater.contract.errors import Untrusted
from headwater.transport.kafka_batch import Batch, Cluster, Record, records
from headwater.transport.kafka_batch.reading import Found, walk
from replicator import logs, quarantine
from replicator.fingerprint import canonical
from replicator.proof.book import Book, Item
from replicator.proof.entry import COMPARED, READ, stamp_of
from replicator.way import Way


def _item(batch: Batch, era: int, source_next: int, seen: str, *, exact: bool) -> Item:
    """A batch of the target as a book takes it."""
    return Item(
        stamp_of(batch.raw, len(batch.raw)),
        batch.count,
        len(batch.raw),
        exact,
        era,
        source_next,
        batch.last_offset + 1,
        seen,
        b"".join(map(canonical, records(batch))),
    )


async def reread(
    probe: Cluster, target: Cluster, way: Way, book: Book, until: int, *, compare: bool, fetch_bytes: int
) -> AsyncGenerator[Item, None]:
    """Yield the target's batches from where `book` is up to offset `until`, whose records follow it at the source.

    They come `fetch_bytes` at a time.

    Untrusted: a record of the target is not that of the source. DataMissing: the target has deleted them.
    """
    era, source_next, span = book.era, book.source_next, (book.target_next, until)
    first, end = await logs.bounds(probe, way.topic, way.partition)
    seen = COMPARED if compare and first <= source_next <= end else READ
    async with (
        aclosing(walk(target, way.target, way.partition, *span, fetch_bytes=fetch_bytes)) as theirs,
        aclosing(walk(probe, way.topic, way.partition, min(max(source_next, first), end), end)) as found,
    ):
        ours = _Source(found, source_next)
        async for batch, _ in theirs:
            if seen == COMPARED:
                exact = await ours.takes(batch, way)
                yield _item(batch, era, ours.at, COMPARED, exact=exact)
            else:
                yield _item(batch, era, source_next, READ, exact=False)


class _Source:
    """The source's data, taken batch by batch where the target has the same batches, else record by record."""

    def __init__(self, found: AsyncGenerator[Found, None], at: int) -> None:
        self.at = at
        self._found = found
        self._records: deque[Record] = deque()

    async def takes(self, batch: Batch, way: Way) -> bool:
        """Take the records of a batch of the target; whether it is one batch of the source. Untrusted: it differs."""
        wanted: deque[Record] | None = None
        while True:
            while wanted and self._records:
                here, there = self._records.popleft(), wanted.popleft()
                if not quarantine.same(there, here):
                    raise Untrusted(
                        f"{way} offset {there.offset} is not what {way.topic} has at offset {here.offset}",
                        hint="`headwater replicate verify` names all that differs",
                    )
                self.at = here.offset + 1
            if wanted is not None and not wanted:
                return False
            ours = await self._next(batch, way)
            whole = ours.base_offset >= self.at and ours.last_offset - ours.base_offset + 1 == ours.count == batch.count
            if wanted is None and whole and stamp_of(ours.raw, len(ours.raw)) == stamp_of(batch.raw, len(batch.raw)):
                self.at = ours.last_offset + 1
                return True
            wanted = deque(records(batch)) if wanted is None else wanted
            self._records.extend(each for each in records(ours) if each.offset >= self.at)

    async def _next(self, batch: Batch, way: Way) -> Batch:
        async for ours, is_data in self._found:
            if is_data:
                return ours
        raise Untrusted(
            f"{way} offsets {batch.base_offset} to {batch.last_offset} hold more than {way.topic} has",
            hint="`headwater replicate verify` names all that differs",
        )
