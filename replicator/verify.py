"""Is everything there, once, and unchanged? Reads both logs of a partition record by record."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from headwater.transport.kafka_batch import Cluster, Record
from replicator import logs, losses, states, targets
from replicator.fingerprint import canonical
from replicator.fresh import parts
from replicator.logs import Start
from replicator.mm2.refresh import chosen
from replicator.position import Position
from replicator.proof.ranges import Range, Ranges
from replicator.quarantine import same, stands_for
from replicator.records.chain import Chain
from replicator.records.choosing import chain_of
from replicator.records.comparing import Compared, compare
from replicator.settings import ReplicatorSettings
from replicator.status import open_ends, position_in, stored
from replicator.way import Way

_MOST_RANGES = 1000
_WINDOW = 256  # records looked ahead to find where two logs agree again


class Comparison(msgspec.Struct, frozen=True):
    """One partition. The digests are SHA-256 over the compared records of each side: equal where they agree.

    `waiting` records are at the source only, behind everything shipped; offsets in open transactions count as such.
    `skipped` are the target's of former eras, or have been deleted at the source. Of the compared ones, `replaced` are
    there as what stands for them (quarantine.py), with the digest of the source's.
    `filtered` records of the source were left out by rules; the others are compared as the rules make them.
    `swapped` records stand in another place; `ranges` names what differs, the first thousand of them.
    """

    topic: str
    partition: int
    compared: int
    missing: int
    doubled: int
    altered: int
    waiting: int
    skipped: int
    source_sha256: str
    target_sha256: str
    remark: str = ""
    replaced: int = 0
    swapped: int = 0
    ranges: list[Range] = []
    filtered: int = 0

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, doubled, swapped or altered."""
        return not (self.missing or self.doubled or self.altered or self.swapped)


async def verify_link(settings: ReplicatorSettings) -> list[Comparison]:
    """Compare all partitions of a link, the common range of each; Unreachable if a cluster is."""
    found = []
    async with open_ends(settings) as (source, target):
        kept = await stored(target, settings.site)
        for topic in await chosen(source, settings):
            spec = await targets.spec_at_source(source, topic)
            limits = await losses.limits_of(target, settings.names.remote(topic))
            compacted = targets.is_compacted(spec) or limits.compacted
            for partition in range(spec.partitions):
                way, position = settings.way(topic, partition), position_in(kept, topic, partition)
                if position is None:
                    found.append(_nothing_yet(way, f"{way}: nothing was shipped yet"))
                elif position.ruled is not None:
                    chain = chain_of(settings, topic, [position])
                    found.append(await _compare_ruled(source, target, way, position, chain, compacted=compacted))
                elif compacted:
                    found.append(await _compare_states(source, target, way, position))
                elif (both := parts.streams(kept, settings, way, position)) is not None:
                    found += [await _compare_sides(each.way, await parts.sides(source, target, each)) for each in both]
                else:
                    found.append(await _compare_logs(source, target, way, position))
    return found


async def _compare_ruled(
    source: Cluster, target: Cluster, way: Way, position: Position, chain: Chain | None, *, compacted: bool
) -> Comparison:
    """What rules have shipped, against the source's records under the same rules."""
    ruled = position.ruled
    if ruled is None or chain is None or chain.digest != ruled.digest:
        return _nothing_yet(way, f"{way}: nothing was shipped yet under the rules as they are set now")
    got = await compare(source, target, way, position, ruled, chain, compacted=compacted)
    swapped = sum(each.records for each in got.ranges.swapped())
    return msgspec.structs.replace(
        _counted(way, got, swapped),
        replaced=got.replaced,
        ranges=got.ranges.found()[:_MOST_RANGES],
        filtered=got.filtered,
    )


def _counted(way: Way, got: Compared | states.States, swapped: int = 0) -> Comparison:
    """Counts as they were taken; of what is missing at one place and surplus at another, `swapped` is named as that."""
    return Comparison(
        topic=way.topic,
        partition=way.partition,
        compared=got.compared,
        missing=got.missing - swapped,
        doubled=got.doubled - swapped,
        altered=got.altered,
        waiting=got.waiting,
        skipped=got.skipped,
        source_sha256=got.digests[0].hexdigest(),
        target_sha256=got.digests[1].hexdigest(),
        remark=got.remark,
        swapped=swapped,
    )


def _nothing_yet(way: Way, why: str) -> Comparison:
    empty = hashlib.sha256().hexdigest()
    return Comparison(way.topic, way.partition, 0, 0, 0, 0, 0, 0, empty, empty, why)


async def _compare_states(source: Cluster, target: Cluster, way: Way, position: Position) -> Comparison:
    return _counted(way, await states.compare(source, target, way, position))


async def _compare_logs(source: Cluster, target: Cluster, way: Way, position: Position) -> Comparison:
    kept_from, kept_to = await logs.bounds(target, way.target, way.partition)
    first, end, written = await logs.decided(source, way.topic, way.partition)  # then: the link may run meanwhile
    if first > position.source_next:
        return _nothing_yet(way, f"{way}: the source has deleted all that the stored position covers")
    start = max(position.source_first, first)
    counted = await logs.count_on(source, way, Start(start, 0), 1 << 62, min(position.source_next, end))
    number = position.count - counted.count  # of the record at `start`
    at_target = position.target_first + number
    if at_target < kept_from:
        behind = await logs.count_on(source, way, Start(start, 0), kept_from - at_target, end)
        start, at_target = behind.offset, kept_from
    walk = _Walk(way)
    ours = logs.contents(source, way.topic, way.partition, start, end)
    theirs = logs.contents(target, way.target, way.partition, min(at_target, kept_to), kept_to)
    async with aclosing(ours), aclosing(theirs):
        await walk.run(ours, theirs)
    lost = max(0, position.target_next - kept_to)  # acknowledged, and not there any more
    return walk.result(lost, max(0, position.target_first - kept_from), written - end)


async def _compare_sides(way: Way, sides: parts.Sides) -> Comparison:
    walk = _Walk(way)
    async with aclosing(sides.ours), aclosing(sides.theirs):
        await walk.run(sides.ours, sides.theirs)
    return walk.result(sides.lost, sides.skipped, sides.undecided)


class _Walk:
    """Goes through two logs side by side; where they differ it looks ahead for the nearest place of agreement."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._digests = (hashlib.sha256(), hashlib.sha256())
        self._compared = self._missing = self._doubled = self._altered = self._waiting = 0
        self._replaced = 0
        self._ranges = Ranges()
        self._first = ""
        self._next = 0  # offset behind the last record of the source that was taken

    async def run(self, ours: AsyncGenerator[Record, None], theirs: AsyncGenerator[Record, None]) -> None:
        """Read both to their ends."""
        here: deque[Record] = deque()
        there: deque[Record] = deque()
        while True:
            await _fill(here, ours, 1)
            await _fill(there, theirs, 1)
            if not there:
                self._waiting += len(here) + await _rest(ours)
                return
            if not here:
                self._differs(f"target offset {there[0].offset} is not at the source")
                await self._superfluous(there, theirs)
                return
            if same(there[0], here[0]):
                self._ranges.agreed(there[0])
                self._take(here.popleft(), there.popleft())
                continue
            await _fill(here, ours, _WINDOW)
            await _fill(there, theirs, _WINDOW)
            self._differs(f"source offset {here[0].offset} differs from target offset {there[0].offset}")
            self._skip(here, there)

    async def _superfluous(self, there: deque[Record], theirs: AsyncGenerator[Record, None]) -> None:
        """The target goes on where the source has ended."""
        while there:
            self._doubled += 1
            self._ranges.surplus(there.popleft(), self._next)
            await _fill(there, theirs, 1)

    def _take(self, ours: Record, theirs: Record) -> None:
        self._next = ours.offset + 1
        if theirs[1:] != ours[1:] and stands_for(theirs, ours):
            self._replaced += 1
            theirs = ours
        for digest, record in zip(self._digests, (ours, theirs), strict=True):
            digest.update(canonical(record))
        self._compared += 1

    def _skip(self, here: deque[Record], there: deque[Record]) -> None:
        """Drop as few as possible from both so that the heads agree; one of each if nothing within sight does."""
        places = {record[1:]: index for index, record in reversed(list(enumerate(here)))}
        pairs = [(places[r[1:]], index) for index, r in enumerate(there) if r[1:] in places]
        drop_here, drop_there = min(pairs, key=sum, default=(1, 1))
        both = min(drop_here, drop_there)
        self._altered += both
        self._missing += drop_here - both
        self._doubled += drop_there - both
        for _ in range(both):
            self._ranges.altered(here[0], there[0])
            self._take(here.popleft(), there.popleft())
        for _ in range(drop_here - both):
            self._ranges.missing(here[0], there[0].offset if there else -1)
            self._digests[0].update(canonical(here.popleft()))
        for _ in range(drop_there - both):
            self._ranges.surplus(there[0], self._next)
            self._digests[1].update(canonical(there.popleft()))

    def _differs(self, text: str) -> None:
        self._first = self._first or f"{self._way}: {text}"

    def result(self, lost: int, skipped: int, undecided: int) -> Comparison:
        """What was found; `lost` records are acknowledged but not at the target, `undecided` offsets wait, too."""
        lost = min(lost, self._waiting)
        swapped = sum(each.records for each in self._ranges.swapped())
        first = self._first or (f"{self._way}: the last {lost} acknowledged records are not there" if lost else "")
        return Comparison(
            topic=self._way.ledger,
            partition=self._way.partition,
            compared=self._compared,
            missing=self._missing + lost - swapped,
            doubled=self._doubled - swapped,
            altered=self._altered,
            waiting=self._waiting - lost + undecided,
            skipped=skipped,
            source_sha256=self._digests[0].hexdigest(),
            target_sha256=self._digests[1].hexdigest(),
            remark=first,
            replaced=self._replaced,
            swapped=swapped,
            ranges=self._ranges.found()[:_MOST_RANGES],
        )


async def _fill(queue: deque[Record], records: AsyncGenerator[Record, None], size: int) -> None:
    while len(queue) < size:
        record = await anext(records, None)
        if record is None:
            return
        queue.append(record)


async def _rest(records: AsyncGenerator[Record, None]) -> int:
    count = 0
    async for _ in records:
        count += 1
    return count
