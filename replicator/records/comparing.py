"""Is what the rules ship at the target, once and as they make it, and nothing else? For `headwater replicate verify`.

The rules are applied to the source's log again. Each record of the target names its source offset, so the two are gone
through side by side. Records that other rules have shipped, which the position tells, are skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from headwater.transport.kafka_batch import Cluster, Record
from replicator import logs
from replicator.fingerprint import canonical
from replicator.position import Position, Ruled
from replicator.proof.ranges import Ranges
from replicator.quarantine import plain, source_offset, stands_for
from replicator.records.chain import Chain
from replicator.way import Way

_LOTS = 500  # records that the rules see at a time


class Compared:
    """Two logs under rules: counts as in proof.comparison.Comparison. `filtered` of the source's records were left out.

    `compacted`: records may be gone at either end because another one of their key came later. `begin` is the source
    offset from which on it is known what the rules ship: where they thin out and the source has no longer what they had
    seen, its first spans are skipped.
    """

    def __init__(self, way: Way, begin: int, *, compacted: bool) -> None:
        self.begin = begin
        self.compared = self.missing = self.doubled = self.altered = self.waiting = self.replaced = self.skipped = 0
        self.filtered = 0
        self.remark = ""
        self.ranges = Ranges()
        self.digests = (hashlib.sha256(), hashlib.sha256())
        self._way, self._compacted = way, compacted
        self._last = -1  # source offset of the newest record that agreed

    def takes(self, theirs: Record) -> int | None:
        """Source offset of a record of the target that is to be found at the source; None: it is skipped or surplus."""
        at = source_offset(theirs)
        if at is not None and at < self.begin:
            self.skipped += 1
            return None
        if at is None or at <= self._last:
            self.surplus(theirs)
            return None
        return at

    def agrees(self, ours: Record, theirs: Record) -> None:
        """A record of the target with the offset of one that the rules ship."""
        self._last = ours.offset
        shown = plain(theirs)
        if stands_for(theirs, ours):
            self.replaced += 1
            shown = ours
        self.compared += 1
        for digest, each in zip(self.digests, (ours, shown), strict=True):
            digest.update(canonical(each))
        if shown[1:] == ours[1:]:
            self.ranges.agreed(shown)
            return
        self.altered += 1
        self.ranges.altered(ours, theirs)
        self._say(f"source offset {ours.offset} differs from target offset {theirs.offset}")

    def lacks(self, ours: Record, at: int) -> None:
        """A record that the rules ship and the target does not have, whose next offset is `at`."""
        if not self._compacted:
            self.missing += 1
            self.digests[0].update(canonical(ours))
            self.ranges.missing(ours, at)
            self._say(f"source offset {ours.offset} is missing")

    def surplus(self, theirs: Record) -> None:
        """A record of the target that the rules do not ship, or not again, or not there."""
        if self._compacted:
            self.skipped += 1
            return
        self.doubled += 1
        self.digests[1].update(canonical(plain(theirs)))
        self.ranges.surplus(plain(theirs), self._last + 1)
        self._say(f"target offset {theirs.offset} is there twice, or is not what the rules ship")

    def _say(self, what: str) -> None:
        self.remark = self.remark or f"{self._way}: {what}"


async def compare(
    source: Cluster, target: Cluster, way: Way, position: Position, ruled: Ruled, chain: Chain, *, compacted: bool
) -> Compared:
    """Compare what one set of rules has shipped; `chain` must be that of `ruled`."""
    first, end, written = await logs.decided(source, way.topic, way.partition)
    kept_from, kept_to = await logs.bounds(target, way.target, way.partition)
    start = min(max(ruled.source_since, first), end)
    found = Compared(way, start, compacted=compacted)
    found.waiting += written - end
    chain.reset(start)
    sure = start == ruled.source_since or not chain.thins
    expected = _expected(source, way, chain, (start, end), found, sure=sure)
    actual = logs.contents(target, way.target, way.partition, min(max(ruled.target_since, kept_from), kept_to), kept_to)
    async with aclosing(expected), aclosing(actual):
        await _side_by_side(expected, actual, found, position, trimmed=kept_from > ruled.target_since)
    return found


async def _side_by_side(
    expected: AsyncGenerator[Record, None],
    actual: AsyncGenerator[Record, None],
    found: Compared,
    position: Position,
    *,
    trimmed: bool,
) -> None:
    """`trimmed`: the target has deleted its oldest records."""
    here, end = await anext(expected, None), position.target_next
    async for there in actual:
        end = there.offset + 1
        at = found.takes(there)
        if at is None:
            continue
        while here is not None and here.offset < at:
            if not trimmed:
                found.lacks(here, there.offset)
            here = await anext(expected, None)
        trimmed = False
        if here is not None and here.offset == at:
            found.agrees(here, there)
            here = await anext(expected, None)
        else:
            found.surplus(there)
    while here is not None:
        if here.offset >= position.source_next:
            found.waiting += 1
        elif not trimmed:
            found.lacks(here, end)
        here = await anext(expected, None)


async def _expected(
    source: Cluster, way: Way, chain: Chain, span: tuple[int, int], found: Compared, *, sure: bool
) -> AsyncGenerator[Record, None]:
    """What the rules ship, from where that is known on."""
    lot: list[Record] = []
    if not sure:
        found.begin = span[1]
    async with aclosing(logs.contents(source, way.topic, way.partition, *span)) as log:
        while True:
            record = await anext(log, None)
            if record is not None:
                lot.append(record)
            if record is None or len(lot) == _LOTS:
                left = chain.apply(lot)
                found.filtered += len(lot) - len(left)
                if not sure and chain.sure_from is not None:
                    sure, found.begin = True, chain.sure_from
                for each in left:
                    if sure and each.offset >= found.begin:
                        yield each
                lot = []
            if record is None:
                return
