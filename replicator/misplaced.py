"""What a target log holds that is shorter than the numbers of its records say, or than what was acknowledged.

Within an era number and offset grow together. Where the last batch is not at the offset that its number gives, the log
lost what came before it: the topic was emptied or restored while that batch was under way, or the broker had forgotten
the producer and took it behind one that it had refused. No waiting mends that. Where the last batch is in its place,
the leader has more than it shows, and will show it when its replicas have it too.
"""

from __future__ import annotations

from contextlib import aclosing

from msgspec import structs

from headwater.contract.errors import DataMissing, Transient
from headwater.transport.kafka_batch import Batch, Cluster
from headwater.transport.kafka_batch.reading import walk
from replicator.numbering import TargetState, sequence
from replicator.position import Position
from replicator.way import Way


async def misplaced(
    target: Cluster, way: Way, position: Position, pid: int, state: TargetState, number: int
) -> Position | tuple[int, int] | None:
    """None: it is not that short, or its last batch is in its place. `number`: how many records its producer has there.

    Else a position by which the era begins where it is now, if it is there from its first record; if it is not, the
    offsets [first, end) of what is out of place. Transient: the log changes meanwhile.
    """
    end = state.log_end
    short = end <= position.target_next or end < position.target_first + number
    if not short or state.epoch != position.era or end <= state.log_start:
        return None
    found = await _batch_at(target, way, end - 1)
    if found is None or not _is_out_of_place(found, position, pid):
        return None
    first, low = found, state.log_start
    while low < first.base_offset:  # what is out of place stays so up to the end
        found = await _batch_at(target, way, (low + first.base_offset - 1) // 2)
        if found is None:
            return None
        if _is_out_of_place(found, position, pid):
            first = found
        else:
            low = found.last_offset + 1
    at = first.base_offset
    if first.base_sequence == sequence(0) and await _begins(target, way, position, at, state.log_start):
        return structs.replace(position, target_next=at + position.count)
    return at, end


def _is_out_of_place(batch: Batch, position: Position, pid: int) -> bool:
    ours = batch.producer_id == pid and batch.producer_epoch == position.era
    return ours and batch.base_sequence != sequence(batch.base_offset - position.target_first)


async def _begins(target: Cluster, way: Way, position: Position, at: int, log_start: int) -> bool:
    """Whether nothing of the era is before an offset."""
    if at <= log_start:
        return not log_start or at < position.target_first
    before = await _batch_at(target, way, at - 1)
    return before is not None and before.producer_epoch < position.era


async def _batch_at(target: Cluster, way: Way, offset: int) -> Batch | None:
    """The batch that an offset is in; no more than that one is read."""
    try:
        async with aclosing(walk(target, way.target, way.partition, offset, offset + 1, fetch_bytes=1)) as walked:
            async for each in walked:
                return each.batch
    except DataMissing as error:
        raise Transient(f"{way}: the target's log changes while it is read: {error}") from error
    return None
