"""Which parts of a source log each of the two streams has, from what was recorded of gaps."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

from headwater.transport.kafka_batch import Cluster, Record
from replicator import logs
from replicator.fresh.aside import DEFERRED
from replicator.fresh.engines import OTHER_LOG
from replicator.fresh.status import backlog_position
from replicator.logs import Start
from replicator.position import DOUBLED, GAP_PREFIX, Gap, Position, decode
from replicator.settings import ReplicatorSettings
from replicator.way import BACKLOG, Way

Span = tuple[int, int]
_END = 1 << 62


class Stream(NamedTuple):
    """One of the two: what it has of the source's log, and where it stands.

    `doubled`: ranges of the target that a gap names as doubled. `places`: offsets at the source and at the target
    behind the same record, from old to new; without any, the position is one.
    """

    way: Way
    position: Position
    spans: list[Span]
    doubled: Sequence[Span] = ()
    places: Sequence[Span] = ()


def parts(kept: Mapping[bytes, Record], topic: str, partition: int) -> tuple[list[Span], list[Span]] | None:
    """Source offsets [first, end) of the live stream and of the backlog; None where nothing was ever set aside.

    They begin behind the last gap after which offsets or counts mean something else.
    """
    gaps = gaps_in(kept, topic, partition)
    beside = [each for each in gaps_in(kept, topic + BACKLOG, partition) if each.cause not in (DEFERRED, *OTHER_LOG)]
    anew = max((each.era for each in gaps if each.cause in (*OTHER_LOG, DOUBLED)), default=-1)
    begins = next((each.resumed_at for each in gaps if each.era == anew), 0)
    since = [each for each in gaps if each.era > anew]
    aside = [(each.first, each.end) for each in since if each.cause == DEFERRED]
    if not aside:
        return None
    live = without([(begins, _END)], ((each.first, each.end) for each in since))
    return live, without(aside, ((each.first, each.end) for each in beside if each.cause != DOUBLED))


def gaps_in(kept: Mapping[bytes, Record], topic: str, partition: int) -> list[Gap]:
    """Gaps of a partition that the link has stored, from old to new."""
    prefix = f"{GAP_PREFIX}{topic}/{partition}/".encode()
    found = [decode(record.value, Gap, f"a gap of {topic}") for key, record in kept.items() if key.startswith(prefix)]
    return sorted(found, key=lambda each: each.era)


def without(spans: list[Span], holes: Iterable[Span]) -> list[Span]:
    """What of the spans is in no hole."""
    for first, end in holes:
        spans = [
            part for span in spans for part in ((span[0], min(span[1], first)), (max(span[0], end), span[1]))
            if part[0] < part[1]
        ]  # fmt: skip
    return spans


def within(spans: Sequence[Span], first: int, end: int) -> list[Span]:
    """What of the spans is in [first, end)."""
    found = [(max(span[0], first), min(span[1], end)) for span in spans]
    return [span for span in found if span[0] < span[1]]


def streams(
    kept: Mapping[bytes, Record], settings: ReplicatorSettings, way: Way, position: Position
) -> list[Stream] | None:
    """The live stream of a partition, which stands at `position`, and that of its backlog; None as in `parts`."""
    found = parts(kept, way.topic, way.partition)
    if found is None:
        return None
    beside = backlog_position(kept, way.topic, way.partition)
    live = Stream(way, position, found[0])
    return (
        [live] if beside is None else [live, Stream(settings.backlog_way(way.topic, way.partition), beside, found[1])]
    )


class Sides(NamedTuple):
    """A stream at the source and at the target: their records from the first that both have.

    `lost`: records that were acknowledged and are not at the target any more; `skipped`: those of the target before;
    `undecided`: offsets of the source behind the begin of an open transaction.
    """

    ours: AsyncGenerator[Record, None]
    theirs: AsyncGenerator[Record, None]
    lost: int
    skipped: int
    undecided: int


async def sides(source: Cluster, target: Cluster, stream: Stream) -> Sides:
    """Both sides of a stream, over all its eras; Transient: a cluster does not answer."""
    way, position = stream.way, stream.position
    kept_from, kept_to = await logs.bounds(target, way.target, way.partition)
    first, end, written = await logs.decided(source, way.topic, way.partition)  # then: the link may run meanwhile
    known = next((place for place in stream.places if first < place[0] <= end), None)
    source_at, target_at = known or (position.source_next, position.target_next)
    shipped = within(stream.spans, first, min(source_at, end))
    counted = [(await logs.count_on(source, way, Start(start, 0), _END, stop)).count for start, stop in shipped]
    begins = _back(target_at, sum(counted), stream.doubled)
    deleted = within(without([(begins, kept_from)], stream.doubled), begins, kept_from)
    return Sides(
        _contents(source, way, within(stream.spans, first, end), sum(stop - start for start, stop in deleted)),
        _kept(target, way, without([(min(max(begins, kept_from), kept_to), kept_to)], stream.doubled)),
        max(0, position.target_next - kept_to),
        max(0, begins - kept_from)
        + sum(stop - start for start, stop in within(stream.doubled, max(begins, kept_from), kept_to)),
        sum(stop - start for start, stop in within(stream.spans, end, written)),
    )


def _back(at: int, count: int, doubled: Sequence[Span]) -> int:
    """Target offset of the record that is `count` before the one at an offset, doubled ones not counted."""
    at -= count
    for first, end in sorted(doubled, reverse=True):
        if at < end <= at + count:
            at -= end - first
            count += end - first
    return at


async def _kept(target: Cluster, way: Way, spans: Sequence[Span]) -> AsyncGenerator[Record, None]:
    for first, end in spans:
        async with aclosing(logs.contents(target, way.target, way.partition, first, end)) as found:
            async for record in found:
                yield record


async def _contents(source: Cluster, way: Way, spans: Sequence[Span], leave_out: int) -> AsyncGenerator[Record, None]:
    """Data records of spans, without the first ones."""
    for first, end in spans:
        async with aclosing(logs.contents(source, way.topic, way.partition, first, end)) as found:
            async for record in found:
                if leave_out > 0:
                    leave_out -= 1
                else:
                    yield record
