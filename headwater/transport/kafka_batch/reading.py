"""Reading a partition. `read_range` fails closed: it brings exactly what was asked for, or says what is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import NamedTuple, TypeVar

from headwater.contract.errors import BadInput, DataMissing, Transient
from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.batches import CONTROL_BIT, Batch, batches
from headwater.transport.kafka_batch.calls import Fetched
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.records import FENCE_KEY, Record, records

T = TypeVar("T")

_FETCH_BYTES = 4 << 20
_WATERMARK_GRACE_S = 1.0  # a new leader learns the high watermark from its replicas
_THINNED = "compacted topics are read by read_compacted"
_GONE = "keep the log longer (retention.ms, retention.bytes), or ask for a range that still exists"


class Found(NamedTuple):
    """A batch of a partition; `is_data` is false for control batches and for records of aborted transactions."""

    batch: Batch
    is_data: bool


async def read_range(cluster: Cluster, topic: str, partition: int, start: int, end: int) -> AsyncIterator[Batch]:
    """Yield the data batches that hold the offsets [start, end), whole ones at both borders.

    Markers and aborted transactions are left out. DataMissing, naming the offsets: the range begins before the log or
    ends behind the high watermark, or offsets are missing in between (compaction, truncation). Transient: a broker does
    not answer, or an open transaction hides the range; what was yielded stays right, go on behind it.
    """
    at = start
    async for batch, is_data in walk(cluster, topic, partition, start, end):
        if batch.base_offset > at or (is_data and batch.last_offset - batch.base_offset + 1 != batch.count):
            last = batch.base_offset - 1 if batch.base_offset > at else batch.last_offset
            raise DataMissing(
                f"{topic}[{partition}]: offsets {at} to {last} are not (all) in the log",
                hint=_THINNED,
            )
        at = batch.last_offset + 1
        if is_data:
            yield batch
    if at < end:  # behind it the log goes on
        raise DataMissing(f"{topic}[{partition}]: offsets {at} to {end - 1} are not in the log", hint=_THINNED)


async def read_records(
    cluster: Cluster, topic: str, partition: int, start: int, end: int
) -> AsyncIterator[list[Record]]:
    """Yield the records with offsets [start, end), a list a batch; raises as `read_range`, and for a bad checksum."""
    async for batch in read_range(cluster, topic, partition, start, end):
        found = checked_records(topic, partition, batch)
        if batch.base_offset < start or batch.last_offset >= end:
            found = [record for record in found if start <= record.offset < end]
        if found:
            yield found


async def read_tail(
    cluster: Cluster, topic: str, partition: int, count: int, *, end: int | None = None
) -> list[Record]:
    """Read the last `count` data records (fewer if there are fewer) before `end`, by default the high watermark."""
    return await read_tail_as(lambda record: record, cluster, topic, partition, count, end=end)


async def read_tail_as(
    made: Callable[[Record], T], cluster: Cluster, topic: str, partition: int, count: int, *, end: int | None = None
) -> list[T]:
    """As `read_tail`, holding what is `made` of each record instead of the record."""
    first = (await cluster.offsets(topic, "earliest"))[partition]
    at = (await cluster.offsets(topic, "latest"))[partition] if end is None else end
    found: list[T] = []
    step = count + 16  # markers take offsets too
    while len(found) < count and at > first:
        low = max(first, at - step)
        piece: list[T] = []
        async for batch, is_data in walk(cluster, topic, partition, low, at):
            if is_data:
                piece += [made(r) for r in checked_records(topic, partition, batch) if low <= r.offset < at]
        found = piece + found
        at, step = low, step * 2
    return found[-count:] if count else []


async def read_compacted(cluster: Cluster, topic: str, partition: int, since: int = 0) -> dict[bytes, Record]:
    """Read a compacted partition: the newest record of each key; a null value removes its key.

    `since`: the offset from which on; a log that does not reach so far is another one, and read whole.
    """
    first = (await cluster.offsets(topic, "earliest"))[partition]
    last = (await cluster.offsets(topic, "latest"))[partition]
    first = max(first, since) if since <= last else first
    newest: dict[bytes, Record] = {}
    async for batch, is_data in walk(cluster, topic, partition, first, last):
        for record in checked_records(topic, partition, batch) if is_data else ():
            if record.key is None:
                raise BadInput(
                    f"{topic}[{partition}] offset {record.offset}: a record without a key in a compacted topic"
                )
            if record.value is None:
                newest.pop(record.key, None)
            else:
                newest[record.key] = record
    return newest


def checked_records(topic: str, partition: int, batch: Batch) -> list[Record]:
    """Records of a batch whose checksum holds, without those of fence.py; BadInput if it does not hold."""
    if not batch.crc_ok():
        raise BadInput(
            f"{topic}[{partition}]: the batch at offset {batch.base_offset} is corrupt (checksum)",
            hint="the broker's disk or memory changed it; restore it from a replica",
        )
    found = records(batch)
    return [] if batch.count == 1 and found[0].key == FENCE_KEY and found[0].value is None else found


async def walk(
    cluster: Cluster, topic: str, partition: int, start: int, end: int, *, fetch_bytes: int = _FETCH_BYTES
) -> AsyncGenerator[Found, None]:
    """Yield every batch that touches [start, end), markers and aborted data included, gaps unseen.

    No more than `fetch_bytes` come at a time, but always a batch: little of a slow road is taken from others.

    DataMissing: `start` is not in the log, or `end` is behind the high watermark. Transient as in `read_range`.
    """
    if start < 0 or start > end:
        raise BadInput(f"{topic}[{partition}]: {start} to {end} is no range of offsets")
    at = start
    began = asyncio.get_running_loop().time()
    patience = began + cluster.settings.request_timeout_s
    while at < end:
        part = await _fetch(cluster, topic, partition, at, fetch_bytes)
        now = asyncio.get_running_loop().time()
        if end > part.high_watermark:
            if now < began + _WATERMARK_GRACE_S:
                await asyncio.sleep(_WATERMARK_GRACE_S / 10)
                continue
            raise DataMissing(
                f"{topic}[{partition}]: offsets {max(at, part.high_watermark)} to {end - 1} were asked for, "
                f"the log ends at {part.high_watermark}",
                hint="the topic was made anew or cut short, or this is another cluster",
            )
        before = at
        for found in judged(part):
            if found.batch.base_offset >= end:
                return
            if found.batch.last_offset >= at:
                yield found
                at = found.batch.last_offset + 1
        if at > before:
            patience = now + cluster.settings.request_timeout_s
        elif now > patience:
            raise Transient(
                f"{topic}[{partition}]: offset {at} is not readable; decided up to {part.last_stable}",
                hint="a transaction of another writer is open; it ends after its transaction.timeout.ms",
            )


async def _fetch(cluster: Cluster, topic: str, partition: int, at: int, most: int) -> Fetched:
    fetched = await cluster.fetch(
        {(topic, partition): at}, max_bytes=most, partition_max_bytes=most, read_committed=True
    )
    part = fetched[0]
    doing = f"reading {topic}[{partition}] from offset {at}"
    if part.error == codes.OFFSET_OUT_OF_RANGE:
        first = (await cluster.offsets(topic, "earliest"))[partition]
        last = (await cluster.offsets(topic, "latest"))[partition]
        gone = f"offsets {at} to {first - 1} are gone" if at < first else f"offset {at} is not there"
        raise DataMissing(f"{topic}[{partition}]: {gone}; the log holds {first} to {last - 1}", hint=_GONE)
    codes.check(part.error, doing, denied=cluster.denied("Read", topic))
    return part


def judged(part: Fetched) -> list[Found]:
    """Tell data from markers and aborted data in one fetch (CompletedFetch.nextFetchedRecord in Kafka's consumer).

    It ends in front of what cannot be read; BadInput where that is the first batch.
    """
    if not part.aborted:
        return _all_committed(part.data)
    waiting = sorted(part.aborted, key=lambda each: each[1], reverse=True)
    aborting: set[int] = set()
    found: list[Found] = []
    try:
        for batch in batches(part.data):
            while waiting and waiting[-1][1] <= batch.last_offset:
                aborting.add(waiting.pop()[0])
            if batch.is_control:
                if batch.is_abort():
                    aborting.discard(batch.producer_id)
                found.append(Found(batch, is_data=False))
            else:
                aborted = batch.is_transactional and batch.producer_id in aborting
                found.append(Found(batch, is_data=batch.count > 0 and not aborted))
    except BadInput:
        if not found:
            raise
    return found


def _all_committed(data: memoryview) -> list[Found]:
    found: list[Found] = []
    try:
        found.extend(Found(each, each.count > 0 and not each.attributes & CONTROL_BIT) for each in batches(data))
    except BadInput:
        if not found:
            raise
    return found
