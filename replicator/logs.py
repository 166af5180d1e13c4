"""What the anchor reads of the two logs of a partition."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from headwater.transport.kafka_batch import Batch, Cluster, Record, codes, records
from headwater.transport.kafka_batch.reading import walk
from headwater.transport.kafka_batch.standing import standing
from replicator.numbering import Stamp, TargetState, foreign
from replicator.position import Mark, Position
from replicator.quarantine import same
from replicator.way import Way


class Start(NamedTuple):
    """A source offset before which `count` records of the era had been shipped."""

    offset: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count


class Counted(NamedTuple):
    """Where a count ended: the source offset behind the last record, the record count, the last batch."""

    offset: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count
    last: Batch | None


async def bounds(cluster: Cluster, topic: str, partition: int) -> tuple[int, int]:
    """First offset of a log, and its high watermark."""
    first = (await cluster.offsets(topic, "earliest"))[partition]
    return first, (await cluster.offsets(topic, "latest"))[partition]


async def decided(cluster: Cluster, topic: str, partition: int) -> tuple[int, int, int]:
    """First offset of a log, the one up to which all transactions are decided, and its high watermark.

    A producer may leave a transaction open for its transaction.timeout.ms; nobody reads what is behind it meanwhile.
    """
    first, end = await bounds(cluster, topic, partition)
    return first, await decided_to(cluster, topic, partition, end), end


async def decided_to(cluster: Cluster, topic: str, partition: int, end: int) -> int:
    """Up to which offset, at most `end`, all transactions are decided. Transient: nobody says so."""
    asked = {(topic, partition): end}
    (part,) = await cluster.fetch(asked, max_wait_ms=1, max_bytes=1, partition_max_bytes=1, read_committed=True)
    if part.error == codes.OFFSET_OUT_OF_RANGE:  # it was cut short since
        return end
    cluster.note(topic, part.error)
    codes.check(part.error, f"reading {topic}[{partition}]", denied=cluster.denied("Read", topic))
    return min(part.last_stable, end) if part.last_stable >= 0 else end


async def look(target: Cluster, way: Way, pid: int, begins: int = 0) -> TargetState:
    """What the target knows of a partition; what comes before the offset `begins` there was adopted (mm2/adopting.py).

    The producer state is asked for after the log's end, so that it never stands behind it. Where the broker has
    forgotten the producer (producer.id.expiration.ms, a day), the last batch still names it. Refused: the last batch is
    somebody else's.
    """
    first, end, known = await standing(target, way.target, way.partition)
    for state in known:
        if state.producer.id == pid:
            return TargetState(first, end, state.producer.epoch, state.last_sequence)
    last = await last_batch(target, way.target, way.partition, first, end)
    if last is None or (last.producer_id != pid and end <= begins):
        return TargetState(first, end, None, -1)
    if last.producer_id != pid:
        raise foreign(str(way), last.base_offset, end)
    return TargetState(first, end, last.producer_epoch, last.base_sequence + last.count - 1)


async def stamps(target: Cluster, way: Way, start: int, end: int) -> list[Stamp]:
    """Whose the batches between two offsets of the target are."""
    if start >= end:
        return []
    async with aclosing(walk(target, way.target, way.partition, start, end)) as walked:
        return [
            Stamp(each.base_offset, each.count, each.producer_id, each.producer_epoch, each.base_sequence)
            async for each, _ in walked
        ]


async def last_batch(cluster: Cluster, topic: str, partition: int, first: int, end: int) -> Batch | None:
    """The batch that ends before `end`, or None in an empty log."""
    if end <= first:
        return None
    found = None
    async with aclosing(walk(cluster, topic, partition, end - 1, end)) as walked:
        async for each in walked:
            found = each.batch
    return found


async def is_marked(probe: Cluster, way: Way, mark: Mark) -> bool:
    """Whether the source log still has the batch of `mark`, whose offsets must be in the log."""
    async with aclosing(walk(probe, way.topic, way.partition, mark.base, mark.next)) as walked:
        async for found in walked:
            return found.batch.base_offset == mark.base and found.batch.crc == mark.crc
    return False


async def count_on(probe: Cluster, way: Way, start: Start, number: int, end: int) -> Counted:
    """Count data records from `start` until `number` is reached, or `end` is."""
    at, count, last = start.offset, start.count, None
    if count == number or at >= end:
        return Counted(at, count, last)
    async with aclosing(walk(probe, way.topic, way.partition, at, end)) as walked:
        async for batch, is_data in walked:
            if not is_data:
                continue
            offsets = offsets_of(batch, at)
            if batch.last_offset >= end:  # of a batch that was cut on its way, some may be shipped
                offsets = [offset for offset in offsets if offset < end]
            needed = number - count
            last = batch
            if len(offsets) > needed:
                return Counted(offsets[needed], number, last)
            at, count = min(batch.last_offset + 1, end), count + len(offsets)
            if count == number:
                break
    return Counted(at, count, last)


def offsets_of(batch: Batch, at: int) -> range | list[int]:
    """Offsets of a data batch's records from `at` on; a batch that compaction thinned is unpacked to see them."""
    if batch.count == batch.last_offset - batch.base_offset + 1:
        return range(max(at, batch.base_offset), batch.last_offset + 1)
    return [record.offset for record in records(batch) if record.offset >= at]


def last_before(batch: Batch, offset: int) -> Record:
    """The last record of a batch before an offset."""
    return [record for record in records(batch) if record.offset < offset][-1]


async def contents(cluster: Cluster, topic: str, partition: int, start: int, end: int) -> AsyncGenerator[Record, None]:
    """Data records with offsets [start, end)."""
    if start >= end:
        return
    async with aclosing(walk(cluster, topic, partition, start, end)) as walked:
        async for batch, is_data in walked:
            for record in records(batch) if is_data else ():
                if start <= record.offset < end:
                    yield record


async def common(
    probe: Cluster, target: Cluster, way: Way, position: Position, start: Start, number: int, end: int
) -> Start:
    """Compare source and target from `start`, record by record; where they part, or where `number` is reached."""
    at, count = start
    shift = position.target_first
    ours = contents(probe, way.topic, way.partition, at, end)
    theirs = contents(target, way.target, way.partition, shift + count, shift + number)
    async with aclosing(ours), aclosing(theirs):
        async for there in theirs:
            here = await anext(ours, None)
            if here is None or not same(there, here):
                break
            at, count = here.offset + 1, count + 1
    return Start(at, count)
