"""What waits at the source: how old it is, how much, and where the newest of it begins."""

from __future__ import annotations

from contextlib import aclosing
from typing import NamedTuple

from headwater.contract.errors import BadInput, DataMissing, Transient
from headwater.transport.kafka_batch import Batch, Cluster, codes
from headwater.transport.kafka_batch.reading import judged, walk
from replicator.way import Way

_SAMPLE_BYTES = 64 << 10
_WIDER = 16  # times, for each look further back


class Waiting(NamedTuple):
    """`oldest_ms`: time of the first batch; `newest`: first offset of the last one; `bytes` up to there, a guess."""

    oldest_ms: int
    newest: int
    bytes: int


async def waiting(source: Cluster, way: Way, at: int) -> Waiting | None:
    """What waits from an offset on, as far as it is decided; None: at most a batch. Transient: it does not answer."""
    found, end = await _sample(source, way, at)
    try:
        newest = await _newest(source, way, at, end) if found else None
    except (BadInput, DataMissing):  # whoever ships it names it
        return None
    if newest is None or newest <= at:
        return None
    size = sum(len(batch.raw) for batch in found) / (found[-1].last_offset + 1 - found[0].base_offset)
    return Waiting(found[0].base_timestamp, newest, round((newest - at) * size))


async def oldest_ms(source: Cluster, way: Way, at: int) -> int | None:
    """Time of the first batch from an offset on, ms since 1970. Transient as in `waiting`."""
    found, _ = await _sample(source, way, at)
    return found[0].base_timestamp if found else None


async def _sample(source: Cluster, way: Way, at: int) -> tuple[list[Batch], int]:
    """The first data batches from an offset on, and up to where the log is decided."""
    pair = (way.topic, way.partition)
    (part,) = await source.fetch({pair: at}, max_wait_ms=1, max_bytes=_SAMPLE_BYTES, read_committed=True)
    if part.error == codes.OFFSET_OUT_OF_RANGE:  # whoever fetches it sees that too
        return [], at
    if part.error != codes.NONE:
        failure = codes.failure(part.error, f"looking at {way.topic}[{way.partition}] from offset {at}")
        raise Transient(str(failure), hint=failure.hint)
    try:
        return [batch for batch, is_data in judged(part) if is_data and batch.last_offset >= at], part.last_stable
    except BadInput:  # whoever ships it names it
        return [], at


async def _newest(source: Cluster, way: Way, at: int, end: int) -> int | None:
    """First offset of the last data batch in [at, end)."""
    back = 1
    while end > at:
        low, found = max(at, end - back), None
        async with aclosing(walk(source, way.topic, way.partition, low, end)) as walked:
            async for batch, is_data in walked:
                found = batch.base_offset if is_data else found
        if found is not None or low == at:
            return found
        end, back = low, back * _WIDER
    return None
