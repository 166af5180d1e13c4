"""One side of a link against the manifest: the target's log near the target, the source's log near the source.

So both sides are compared although no record crosses the link: only the manifest does, a thousandth of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import msgspec

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Batch, Cluster, records
from headwater.transport.kafka_batch.reading import walk
from replicator import logs
from replicator.fingerprint import canonical
from replicator.position import Gap
from replicator.proof.entry import Cell, Entry, folded, stamp_of, unpack
from replicator.proof.eras import holes
from replicator.proof.finding import ALTERED, DROPPED, Finding, Seen, Wanted
from replicator.proof.manifest import breaks
from replicator.proof.matching import Matching
from replicator.way import Way

CORRUPT = "corrupt"
UNPROVEN = "unproven"
TARGET = "target"
SOURCE = "source"
_BETWEEN = "they lie between two eras, and neither an entry nor a gap names them"


class Named(msgspec.Struct, frozen=True):
    """A range that is not as it should be; offsets [first, end) at the target as shipped, and in the log looked at."""

    kind: str
    records: int
    shipped: tuple[int, int]
    found: tuple[int, int]
    says: str


class Checked(msgspec.Struct, frozen=True):
    """One partition of one side. `proven` records agree; `counted` of them by number only, since they were rebuilt.

    `unproven`: records of this log behind the last entry. `deleted`: proven records that it has deleted since.
    `sha256`: entries whose records agree with their SHA-256, of those that have one. `remark`: why there is no proof.
    `gaps`: what the link itself has named as gone, doubled or of another log.
    """

    topic: str
    partition: int
    side: str
    entries: int
    proven: int
    counted: int = 0
    unproven: int = 0
    deleted: int = 0
    sha256: int = 0
    findings: list[Named] = []
    remark: str = ""
    gaps: list[Gap] = []

    @property
    def agrees(self) -> bool:
        """Whether nothing is dropped, doubled, swapped, altered or without proof in between."""
        return not self.findings


async def check_target(target: Cluster, way: Way, entries: Sequence[Entry], gaps: Sequence[Gap] = ()) -> Checked:
    """The target's log against its entries; it needs nothing of the source. `gaps`: what may lie between two eras."""
    start, end = await logs.bounds(target, way.target, way.partition)
    matching, reader = Matching(), _Reader(target, way, entries)
    for stretch in _stretches(entries):
        cells = [cell for entry in stretch for cell in wanted(entry) if cell.first >= start]
        if not cells:
            continue
        last = stretch[-1] is entries[-1]
        until = end if last else min(end, stretch[-1].target[1])
        async with aclosing(reader.read(min(cells[0].first, end), until)) as log:
            await matching.match(cells, log)
    named = [_named(way, each) for each in matching.findings()] + reader.corrupt + _chain(way, entries)
    named += [
        Named(UNPROVEN, hole[1] - hole[0], hole, hole, f"{way}: offsets {hole[0]} to {hole[1] - 1}: {_BETWEEN}")
        for hole in holes(entries, gaps).target
        if hole[1] > start
    ]
    named += await reader.digests(start, named)
    return Checked(
        way.ledger,
        way.partition,
        TARGET,
        len(entries),
        matching.agreed,
        unproven=matching.rest if entries else end - start,
        deleted=sum(each.records for entry in entries for each in wanted(entry) if each.first < start),
        sha256=reader.agreed,
        findings=named,
    )


def _named(way: Way, finding: Finding) -> Named:
    return Named(*finding, f"{way}: {finding.sentence()}")


def _chain(way: Way, entries: Sequence[Entry]) -> list[Named]:
    return [
        Named(UNPROVEN, end - first, (first, end), (first, end), f"{way}: offsets {first} to {end - 1}: {why}")
        for first, end, why in breaks(entries)
    ]


def wanted(entry: Entry) -> list[Wanted]:
    """Cells of an entry, with their offsets at the target."""
    found, at = [], entry.target[0]
    for cell in _cells(entry):
        found.append(Wanted(at, cell.batches, cell.records, cell.fold))
        at += cell.records
    return found


def _cells(entry: Entry) -> list[Cell]:
    try:
        return unpack(entry.cells)
    except ValueError as error:
        raise BadInput(f"the manifest entry of target offset {entry.target[0]} is not readable: {error}") from error


def _stretches(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Runs of entries without a hole between them."""
    found: list[list[Entry]] = []
    for entry in entries:
        if found and found[-1][-1].target[1] == entry.target[0]:
            found[-1].append(entry)
        else:
            found.append([entry])
    return found


class _Reader:
    """The target's log as stamps; on the way checksums are tried."""

    def __init__(self, target: Cluster, way: Way, entries: Sequence[Entry]) -> None:
        self.corrupt: list[Named] = []
        self.agreed = 0
        self._target, self._way = target, way
        self._digested = [each for each in entries if each.sha256]

    async def read(self, start: int, end: int) -> AsyncGenerator[Seen, None]:
        """Batches with offsets [start, end)."""
        async with aclosing(walk(self._target, self._way.target, self._way.partition, start, end)) as walked:
            async for batch, _ in walked:
                if not batch.crc_ok():
                    self._note_corrupt(batch)
                yield Seen(
                    batch.base_offset, batch.last_offset - batch.base_offset + 1, stamp_of(batch.raw, len(batch.raw))
                )

    def _note_corrupt(self, batch: Batch) -> None:
        span = batch.base_offset, batch.last_offset + 1
        says = f"{self._way}: the batch at offsets {span[0]} to {span[1] - 1} does not fit its checksum"
        self.corrupt.append(Named(CORRUPT, batch.count, span, span, says))

    async def digests(self, start: int, findings: Sequence[Named]) -> list[Named]:
        """Entries whose SHA-256 is not that of their records; where offsets have moved none is tried."""
        found = []
        moved = min((each.shipped[0] for each in findings), default=1 << 62)
        for entry in self._digested:
            if entry.target[0] < start or entry.target[1] > moved:
                continue
            if await self._digest(*entry.target) == entry.sha256:
                self.agreed += 1
            else:
                says = f"{self._way}: offsets {entry.target[0]} to {entry.target[1] - 1} have another SHA-256"
                found.append(Named(ALTERED, entry.records, entry.target, entry.target, says))
        return found

    async def _digest(self, start: int, end: int) -> str:
        digest = hashlib.sha256()
        async with aclosing(walk(self._target, self._way.target, self._way.partition, start, end)) as walked:
            async for batch, _ in walked:
                for record in records(batch):
                    digest.update(canonical(record))
        return digest.hexdigest()


async def check_source(
    probe: Cluster,
    way: Way,
    entries: Sequence[Entry],
    since: int,
    gaps: Sequence[Gap] = (),
    replaced: Sequence[int] = (),
) -> Checked:
    """The source's log against the entries of the eras that it belongs to; it needs nothing of the target's data.

    `since`: the first of these. `gaps`: what may lie between two of them. `replaced`: offsets of records for which
    something else was shipped, so that the SHA-256 is not of them.
    """
    start, _ = await logs.bounds(probe, way.topic, way.partition)
    proven = counted = deleted = digested = 0
    named = _chain(way, entries) + await _never_shipped(probe, way, entries, gaps)
    for entry in entries:
        if entry.era < since:
            continue
        if entry.source[0] < start or entry.source[0] == entry.source[1]:
            deleted += entry.records
            continue
        async with aclosing(walk(probe, way.topic, way.partition, *entry.source)) as walked:
            outcome = await _against(entry, (each.batch async for each in walked if each.is_data))
        found = [_at_source(way, entry, *each) for each in outcome.differences]
        found += [_unshipped(way, entry, outcome.more)] if outcome.more else []
        proven += outcome.agreed
        if entry.sha256 and not found and not any(entry.source[0] <= at < entry.source[1] for at in replaced):
            if await _digest_at_source(probe, way, entry) == entry.sha256:
                digested += 1
                outcome.counted = 0
            else:
                first, last = entry.source[0], entry.source[1] - 1
                says = f"{way.topic}[{way.partition}]: offsets {first} to {last} have another SHA-256"
                found.append(Named(ALTERED, entry.records, entry.target, entry.source, says))
        counted += outcome.counted
        named += found
    return Checked(
        way.ledger, way.partition, SOURCE, len(entries), proven, counted, 0, deleted, digested, findings=named
    )


async def _never_shipped(probe: Cluster, way: Way, entries: Sequence[Entry], gaps: Sequence[Gap]) -> list[Named]:
    """Records that the source has between two eras, and of which nobody said anything."""
    start, found = (await logs.bounds(probe, way.topic, way.partition))[0], []
    between = holes(entries, gaps).source if not way.aside else []  # a backlog has such parts only
    for (first, end), at in between:
        kept = logs.contents(probe, way.topic, way.partition, max(first, start), end)
        async with aclosing(kept):
            offsets = [record.offset async for record in kept]  # none where only transactions ended there
        if offsets:
            span = offsets[0], offsets[-1] + 1
            says = f"{len(offsets)} records of offsets {span[0]} to {span[1] - 1}: {_BETWEEN}"
            says = f"{way.topic}[{way.partition}]: {says}"
            found.append(Named(DROPPED, len(offsets), (at, at), span, says))
    return found


async def _digest_at_source(probe: Cluster, way: Way, entry: Entry) -> str:
    digest = hashlib.sha256()
    async with aclosing(logs.contents(probe, way.topic, way.partition, *entry.source)) as found:
        async for record in found:
            digest.update(canonical(record))
    return digest.hexdigest()


def _at_source(way: Way, entry: Entry, cell: Wanted, has: int) -> Named:
    kind = ALTERED if has == cell.records else DROPPED
    what = "differ from" if has == cell.records else f"have {has} records left of"
    says = (
        f"{way.topic}[{way.partition}]: offsets {entry.source[0]} to {entry.source[1] - 1} {what} what was shipped to "
        f"target offsets {cell.first} to {cell.end - 1}"
    )
    return Named(kind, cell.records, (cell.first, cell.end), entry.source, says)


def _unshipped(way: Way, entry: Entry, count: int) -> Named:
    (first, end), shipped = entry.source, entry.target[1]
    says = f"{way.topic}[{way.partition}]: {count} records of offsets {first} to {end - 1} were never shipped"
    return Named(DROPPED, count, (shipped, shipped), entry.source, says)


class _Outcome(msgspec.Struct):
    agreed: int = 0
    counted: int = 0
    differences: list[tuple[Wanted, int]] = []
    more: int = 0  # records behind those of the last cell


async def _against(entry: Entry, log: AsyncIterator[Batch]) -> _Outcome:
    """Cell by cell: batches that were passed on whole by their stamps, others by the number of records."""
    found = _Outcome()
    left = 0  # records of a batch that a cell has not used up
    for cell, place in zip(_cells(entry), wanted(entry), strict=True):
        have, fold = left, 0
        while have < cell.records and (batch := await anext(log, None)) is not None:
            have += len(_within(entry, batch))
            fold = folded(fold, stamp_of(batch.raw, len(batch.raw)))
        left = max(have - cell.records, 0)
        if have < cell.records or (cell.exact and (left or fold != cell.fold)):
            found.differences.append((place, min(have, cell.records)))
        else:
            found.agreed += cell.records
            found.counted += 0 if cell.exact else cell.records
    found.more = left + sum([len(_within(entry, batch)) async for batch in log])
    return found


def _within(entry: Entry, batch: Batch) -> list[int]:
    """Offsets of a batch's records that are of an entry."""
    return [at for at in logs.offsets_of(batch, max(batch.base_offset, entry.source[0])) if at < entry.source[1]]
