"""Is everything there, once, and unchanged? Reads both logs of a partition record by record."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from headwater.transport.kafka_batch import Cluster, Record
from replicator import losses, states, targets
from replicator.fingerprint import canonical
from replicator.fresh import parts
from replicator.mm2.refresh import chosen
from replicator.position import Position
from replicator.proof.eras import whole
from replicator.proof.manifest import read_manifest
from replicator.proof.ranges import Range, Ranges
from replicator.quarantine import same, stands_for
from replicator.records.chain import Chain
from replicator.records.choosing import chain_of
from replicator.records.comparing import Compared, compare
from replicator.settings import ReplicatorSettings
from replicator.status import open_ends, position_in, stored
from replicator.way import Way

RECORDS = "records"
KEYS = "newest of each key"
RULED = "what rules ship"
_MOST_RANGES = 1000
_WINDOW = 256  # records looked ahead to find where two logs agree again
_WIDEST = 20_000  # where they do not within that
_MOST_BYTES = 32 << 20  # of them


class Comparison(msgspec.Struct, frozen=True):
    """One partition. The digests are SHA-256 over the compared records of each side: equal where they agree.

    `waiting` records are at the source only, behind everything shipped; offsets in open transactions count as such.
    `skipped` are the target's that the source has no more, of another log, or doubled ones that a gap names. Of the
    compared ones, `replaced` are there as what stands for them (quarantine.py), with the digest of the source's.
    `filtered` records of the source were left out by rules; the others are compared as the rules make them.
    `compares` says what: each record, the newest one of each key, or what rules ship.
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
    compares: str = RECORDS

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, doubled, swapped or altered."""
        return not (self.missing or self.doubled or self.altered or self.swapped)


async def verify_link(settings: ReplicatorSettings) -> list[Comparison]:
    """Compare all partitions of a link, over all eras that both sides have of each; Unreachable if a cluster is."""
    found = []
    async with open_ends(settings) as (source, target):
        kept, proof = await stored(target, settings.site), await read_manifest(target, settings.site)
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
                    entries = proof.get((topic, partition), [])
                    found.append(await _compare_logs(source, target, whole(kept, entries, way, position)))
    return found


async def _compare_ruled(
    source: Cluster, target: Cluster, way: Way, position: Position, chain: Chain | None, *, compacted: bool
) -> Comparison:
    """What rules have shipped, against the source's records under the same rules."""
    ruled = position.ruled
    if ruled is None or chain is None or chain.digest != ruled.digest:
        nothing = _nothing_yet(way, f"{way}: nothing was shipped yet under the rules as they are set now")
        return msgspec.structs.replace(nothing, compares=RULED)
    got = await compare(source, target, way, position, ruled, chain, compacted=compacted)
    swapped = sum(each.records for each in got.ranges.swapped())
    return msgspec.structs.replace(
        _counted(way, got, swapped),
        replaced=got.replaced,
        ranges=got.ranges.found()[:_MOST_RANGES],
        filtered=got.filtered,
        compares=RULED,
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
    counted = _counted(way, await states.compare(source, target, way, position))
    return msgspec.structs.replace(counted, compares=KEYS)


async def _compare_logs(source: Cluster, target: Cluster, stream: parts.Stream) -> Comparison:
    way = stream.way
    if (await source.offsets(way.topic, "earliest"))[way.partition] > stream.position.source_next:
        return _nothing_yet(way, f"{way}: the source has deleted all that the stored position covers")
    return await _compare_sides(way, await parts.sides(source, target, stream))


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
            self._differs(f"source offset {here[0].offset} differs from target offset {there[0].offset}")
            for size in (_WINDOW, _WIDEST):
                await _fill(here, ours, size)
                await _fill(there, theirs, size)
                if (agreed := _agreement(here, there)) is not None:
                    break
            self._skip(here, there, agreed or (min(len(here), len(there)),) * 2)

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

    def _skip(self, here: deque[Record], there: deque[Record], dropped: tuple[int, int]) -> None:
        """Drop so many of each; those that face each other are altered."""
        drop_here, drop_there = dropped
        both = min(drop_here, drop_there)
        self._missing += drop_here - both
        self._doubled += drop_there - both
        for _ in range(both):
            if same(there[0], here[0]):  # what stands for a record is not found by its content
                self._ranges.agreed(there[0])
            else:
                self._altered += 1
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
    held = 0 if len(queue) >= size else sum(map(_bytes, queue))
    while len(queue) < size and held < _MOST_BYTES:
        record = await anext(records, None)
        if record is None:
            return
        queue.append(record)
        held += _bytes(record)


def _bytes(record: Record) -> int:
    return len(record.key or b"") + len(record.value or b"")


def _agreement(here: deque[Record], there: deque[Record]) -> tuple[int, int] | None:
    """As few as possible of both so that what follows is the same; None: nothing within sight is."""
    places = {record[1:]: index for index, record in reversed(list(enumerate(here)))}
    pairs = [(places[r[1:]], index) for index, r in enumerate(there) if r[1:] in places]
    return min(pairs, key=sum, default=None)


async def _rest(records: AsyncGenerator[Record, None]) -> int:
    count = 0
    async for _ in records:
        count += 1
    return count
