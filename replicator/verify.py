"""Is everything there, once, and unchanged? Reads both logs of a partition record by record."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from headwater.contract.errors import Transient, Unreachable
from headwater.transport.kafka_batch import Cluster, Record
from headwater.transport.kafka_batch.alterations import all_topics
from replicator import losses, states, targets
from replicator.fingerprint import canonical
from replicator.fresh import parts
from replicator.fresh.aside import DEFERRED
from replicator.limits import Limits
from replicator.mm2.refresh import chosen
from replicator.position import Position
from replicator.proof.comparison import KEYS, RULED, Comparison, nothing_compared, without_target
from replicator.proof.eras import whole
from replicator.proof.manifest import Entries, read_manifest
from replicator.proof.ranges import Ranges
from replicator.quarantine import same, stands_for
from replicator.records.chain import Chain
from replicator.records.choosing import chain_of
from replicator.records.comparing import Compared, compare
from replicator.settings import ReplicatorSettings
from replicator.status import Kept, open_ends, position_in, stored
from replicator.way import Way

_ALL = (0, 1 << 62)
_MOST_RANGES = 1000
_WINDOW = 256  # records looked ahead to find where two logs agree again
_WIDEST = 20_000  # where they do not within that
_MOST_BYTES = 32 << 20  # of them


async def verify_link(settings: ReplicatorSettings) -> list[Comparison]:
    """Compare all partitions of a link, over all eras that both sides have of each; Unreachable if a cluster is.

    A topic that one side does not have is named, and keeps none of the others from being compared.
    """
    found: list[Comparison] = []
    async with open_ends(settings) as (source, target):
        kept, proof = await stored(target, settings.site), await read_manifest(target, settings.site)
        for topic in await chosen(source, settings):
            try:
                spec = await targets.spec_at_source(source, topic)
            except Transient as error:
                if isinstance(error, Unreachable):
                    raise
                found.append(nothing_compared(settings.way(topic, 0), f"not compared: {error}"))
                continue
            names = [settings.names.remote(topic), settings.backlog_way(topic, 0).target]
            link = _Link(settings, source, target, kept, proof, await all_topics(target, names))
            limits = await losses.limits_of(target, names[0]) if names[0] in link.there else Limits()
            compacted = targets.is_compacted(spec) or limits.compacted
            for partition in range(spec.partitions):
                found += await _compare(link, settings.way(topic, partition), compacted=compacted)
        return [_with_gaps(each, kept) for each in found]


def _with_gaps(found: Comparison, kept: Kept) -> Comparison:
    gaps = [each for each in parts.gaps_in(kept, found.topic, found.partition) if each.cause != DEFERRED]
    return msgspec.structs.replace(found, gaps=gaps)


class _Link(NamedTuple):
    """`there`: how many partitions the topics have that are at the target."""

    settings: ReplicatorSettings
    source: Cluster
    target: Cluster
    kept: Kept
    proof: Entries
    there: Mapping[str, int]

    def has(self, way: Way) -> bool:
        return way.partition < self.there.get(way.target, 0)


async def _compare(link: _Link, way: Way, *, compacted: bool) -> list[Comparison]:
    """A partition, and what was set aside of it."""
    source, target, kept = link.source, link.target, link.kept
    position = position_in(kept, way.topic, way.partition)
    if position is None:
        return [nothing_compared(way, f"{way}: nothing was shipped yet")]
    plain = not compacted and position.ruled is None
    if not plain and link.has(way):
        if position.ruled is None:
            return [await _compare_states(source, target, way, position)]
        chain = chain_of(link.settings, way.topic, [position])
        return [await _compare_ruled(source, target, way, position, chain, compacted=compacted)]
    streams = parts.streams(kept, link.settings, way, position) if plain else [parts.Stream(way, position, [_ALL])]
    if streams is None:
        streams = [whole(kept, link.proof.get((way.topic, way.partition), []), way, position)]
        if link.has(way):
            return [await _compare_logs(source, target, streams[0])]
    return [
        await _compare_sides(each.way, await parts.sides(source, target, each))
        if link.has(each.way)
        else await without_target(source, each.way, each.position, each.spans)
        for each in streams
    ]


async def _compare_ruled(
    source: Cluster, target: Cluster, way: Way, position: Position, chain: Chain | None, *, compacted: bool
) -> Comparison:
    """What rules have shipped, against the source's records under the same rules."""
    ruled = position.ruled
    if ruled is None or chain is None or chain.digest != ruled.digest:
        nothing = nothing_compared(way, f"{way}: nothing was shipped yet under the rules as they are set now")
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


async def _compare_states(source: Cluster, target: Cluster, way: Way, position: Position) -> Comparison:
    counted = _counted(way, await states.compare(source, target, way, position))
    return msgspec.structs.replace(counted, compares=KEYS)


async def _compare_logs(source: Cluster, target: Cluster, stream: parts.Stream) -> Comparison:
    way = stream.way
    if (await source.offsets(way.topic, "earliest"))[way.partition] > stream.position.source_next:
        return nothing_compared(way, f"{way}: the source has deleted all that the stored position covers")
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
