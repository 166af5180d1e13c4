"""Which offset of the target a consumer goes on from that stands at an offset of the source, exact to the record.

In one era record number n of a partition is the n-th data record at or after `source_first`, and its target offset is
`target_first` + n (position.py). So an offset is translated by the number of data records before it: transaction
markers and aborted records, which take offsets at the source and none at the target, are not counted. Where two known
places are as many records apart as offsets, everything between is known; else the source's batches are counted.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from contextlib import aclosing
from typing import NamedTuple

from headwater.contract import headers
from headwater.contract.topics import positions
from headwater.transport.kafka_batch import Cluster, codes, read_compacted, records
from headwater.transport.kafka_batch.reading import judged, walk
from replicator import logs
from replicator.fresh.aside import DEFERRED
from replicator.position import CORRUPT, FIRST_ERA, GAP_PREFIX, RETENTION, UNREADABLE, Gap, Position, decode
from replicator.quarantine import source_offset
from replicator.way import Way

_KEPT_PLACES = 1024  # of a partition
_STEP = 64  # offsets that are read back first
_SAME_LOG = (RETENTION, CORRUPT, UNREADABLE, DEFERRED)  # gaps after which offsets mean what they meant before


class _Place(NamedTuple):
    """`count` data records of the era come before a source offset."""

    offset: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count


class Translator:
    """Translates for the partitions of one link; what was counted once is remembered."""

    def __init__(self, source: Cluster, target: Cluster) -> None:
        self._source = source
        self._target = target
        self._counted: dict[tuple[Way, int], list[_Place]] = {}  # by partition and era
        self._gaps: dict[tuple[Way, int], Gap | None] = {}  # before an era
        self._began_at: dict[tuple[Way, int], tuple[int, tuple[int, int] | None]] = {}  # an era, and its first record
        self._looked_up: dict[tuple[Way, int, str, int], int] = {}  # by partition, era, rules and source offset

    async def by_count(self, way: Way, position: Position, offset: int) -> int | None:
        """Target offset for a source offset of a partition that is shipped by batches.

        A group that is ahead of the link goes on behind all that was shipped. None: the offset is of a log that the
        source no longer has. Transient: a cluster does not answer.
        """
        if offset >= position.source_next:
            return position.target_next
        if offset <= position.source_first:
            adopted = position.target_first if position.era == FIRST_ERA else 0  # records that another has copied
            known = (position.era == FIRST_ERA and not adopted) or offset == position.source_first
            return position.target_first if known else await self._before(way, position, offset)
        below, above = self._around(way, position, offset)
        if above.offset - below.offset == above.count - below.count:
            return position.target_first + below.count + offset - below.offset
        count = await self._count(way, below, above, offset)
        self._remember(way, position, _Place(offset, count))
        return position.target_first + count

    async def _before(self, way: Way, position: Position, offset: int) -> int | None:
        """For an offset of an era before: exact inside of the gap, and up to the records since then before it.

        Where the source has deleted them, they are taken to be as many as offsets, so that none is skipped.
        """
        gap = await self._gap(way, position.era)
        if gap is None or gap.cause not in _SAME_LOG:
            return None
        if offset >= gap.first:
            return position.target_first
        first, _ = await logs.bounds(self._source, way.topic, way.partition)
        since = await self._between(way, offset, gap.first) if first <= offset else gap.first - offset
        return max(0, position.target_first - since)

    async def _gap(self, way: Way, era: int) -> Gap | None:
        if (way, era) in self._gaps:
            return self._gaps[way, era]
        kept = await read_compacted(self._target, positions(way.site).name, 0)
        record = kept.get(f"{GAP_PREFIX}{way.ledger}/{way.partition}/{era}".encode())
        found = record and decode(record.value, Gap, f"the gap before era {era} of {way}")
        if found is None or found.cause != DEFERRED:  # where one begins that is set aside may be settled later
            self._gaps[way, era] = found
        return found

    def _around(self, way: Way, position: Position, offset: int) -> tuple[_Place, _Place]:
        """The nearest known places: at or before an offset, and behind it."""
        places = [_Place(position.source_first, 0), _Place(position.source_next, position.count)]
        places += [_Place(mark.next, mark.count) for mark in position.trail]
        places += self._counted.get((way, position.era), [])
        places = sorted(place for place in places if place.offset <= position.source_next)
        at = bisect_right(places, offset, key=lambda place: place.offset)
        return places[at - 1], places[at]

    async def _count(self, way: Way, below: _Place, above: _Place, offset: int) -> int:
        first, _ = await logs.bounds(self._source, way.topic, way.partition)
        if first <= below.offset:
            return below.count + await self._between(way, below.offset, offset)
        if first <= offset:
            return above.count - await self._between(way, offset, above.offset)
        # Some of it was deleted at the source: never behind what the group has not read, perhaps some records before.
        kept = above.count - await self._between(way, min(first, above.offset), above.offset)
        return max(below.count, kept - (first - offset))

    async def _between(self, way: Way, start: int, end: int) -> int:
        count = 0
        if start >= end:
            return count
        async with aclosing(walk(self._source, way.topic, way.partition, start, end)) as walked:
            async for batch, is_data in walked:
                if is_data:
                    found = logs.offsets_of(batch, start)
                    count += len(found) if batch.last_offset < end else sum(offset < end for offset in found)
        return count

    def _remember(self, way: Way, position: Position, place: _Place) -> None:
        """Keep the newest places; those of former eras are dropped."""
        for key in [key for key in self._counted if key[0] == way and key[1] != position.era]:
            del self._counted[key]
        places = self._counted.setdefault((way, position.era), [])
        if place not in places:
            insort(places, place)
        del places[:-_KEPT_PLACES]

    async def by_header(self, way: Way, position: Position, offset: int) -> int:
        """Target offset for a source offset of a partition that is shipped record by record.

        Each record carries its source offset, and they grow in an era: the first that is not below `offset` is looked
        for by halving, a fetch of one batch each, and remembered: a group that stands still costs no link its bytes.
        Transient: the target does not answer.
        """
        if offset >= position.source_next:
            return position.target_next
        low, high = await logs.bounds(self._target, way.target, way.partition)
        key = way, position.era, "" if position.ruled is None else position.ruled.digest, offset
        known = self._looked_up.get(key)
        if known is not None and known <= high:
            return max(low, known)
        low = await self._halved(way, offset, max(low, await self._began(way, position, offset, (low, high))), high)
        if len(self._looked_up) >= _KEPT_PLACES:
            self._looked_up.clear()
        self._looked_up[key] = low
        return low

    async def _halved(self, way: Way, offset: int, low: int, high: int) -> int:
        while low < high:
            middle = (low + high) // 2
            found = await self._first_from(way, middle)
            if found is None or found[1] >= offset:
                high = middle
            else:
                low = found[0] + 1
        return low

    async def _first_from(self, way: Way, at: int) -> tuple[int, int] | None:
        """Target and source offset of the first record at or after a target offset; None if there is none."""
        pair = (way.target, way.partition)
        _, end = await logs.bounds(self._target, *pair)
        while at < end:
            fetched = (await self._target.fetch({pair: at}, max_bytes=1, partition_max_bytes=1))[0]
            self._target.note(way.target, fetched.error)
            codes.check(fetched.error, f"reading {way} from offset {at}")
            for batch, is_data in judged(fetched):
                for record in records(batch) if is_data else ():
                    source = headers.find_number(record.headers, headers.SOURCE_OFFSET)
                    if record.offset >= at and source is not None:
                        return record.offset, source
                at = max(at, batch.last_offset + 1)
        return None

    async def _began(self, way: Way, position: Position, offset: int, log: tuple[int, int]) -> int:
        """Target offset from which on source offsets grow: of a source log that was made anew they begin again.

        Where rules say since when they apply, that is known behind it. Else the target is read back to there, once, and
        again if what is there has changed since.
        """
        ruled, key = position.ruled, (way, position.era)
        if position.era == FIRST_ERA:
            return log[0]
        if ruled is not None and ruled.digest and ruled.source_since <= offset:
            return ruled.target_since
        known = self._began_at.get(key)
        if known is None or known[1] != await self._first_from(way, known[0]):
            end = min(log[1], position.target_next)
            resumed_at = await self._resumed_at(way, position.era)
            begins = log[0]
            if resumed_at is not None:
                begins = await self._read_back(way, (resumed_at, position.source_next), (log[0], end))
            known = self._began_at[key] = begins, await self._first_from(way, begins)
        return known[0]

    async def _resumed_at(self, way: Way, era: int) -> int | None:
        """Source offset behind the last gap after which offsets mean something else; None without one."""
        kept = await read_compacted(self._target, positions(way.site).name, 0)
        prefix = f"{GAP_PREFIX}{way.ledger}/{way.partition}/".encode()
        told = [record.value for key, record in kept.items() if key.startswith(prefix)]
        gaps = [decode(value, Gap, f"a gap of {way}") for value in told]
        anew = [(gap.era, gap.resumed_at) for gap in gaps if gap.cause not in _SAME_LOG]
        return max(anew)[1] if anew else 0 if len(gaps) < era else None

    async def _read_back(self, way: Way, sources: tuple[int, int], log: tuple[int, int]) -> int:
        """Offset of the first of the target's last records whose source offsets grow and are in [first, end)."""
        (since, following), (first, end) = sources, log
        begins, at, step = end, end, _STEP
        while at > first:
            low = max(first, at - step)
            async with aclosing(logs.contents(self._target, way.target, way.partition, low, at)) as part:
                found = [(record.offset, source_offset(record)) async for record in part]
            for there, source in reversed(found):
                if source is not None and not since <= source < following:
                    return begins
                begins, following = there, following if source is None else source
            at, step = low, step * 2
        return first
