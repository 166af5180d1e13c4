"""Reading a range so that every offset of it is accounted for, many batches at a time.

Each offset in the range is a record that comes, or one that a transaction's marker takes (commit, abort, or the empty
transactions of fence.py). Anything else ends the reading with its offsets named: what retention deleted, a hole that
compaction left (also in a batch that it kept, or at the very end of the range), records of an aborted transaction.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from headwater.contract.errors import DataMissing
from headwater.transport.kafka_batch.batches import Batch
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.columns import record_columns
from headwater.transport.kafka_batch.reading import walk
from headwater.transport.kafka_batch.records import records
from headwater.transport.record_columns import RecordColumns

_TOGETHER = 16_384  # records: enough for numpy's calls to cost nothing each, few enough to stay in the cache
_COMPACTED = "a compacted topic keeps no exact range; datasets need cleanup.policy=delete"


async def read_columns(
    cluster: Cluster, topic: str, partition: int, start: int, end: int, mark: str
) -> AsyncGenerator[RecordColumns]:
    """The records with offsets [start, end) in order, with the value of their header `mark`, no piece empty; see above.

    It ends as soon as the last offset is accounted for, whatever takes it. DataMissing also where the range begins
    before the log or ends behind it. BadInput: a corrupt batch. Transient: a broker does not answer, or an open
    transaction hides the range.
    """
    waiting: list[Batch] = []
    count, at = 0, start
    async with aclosing(walk(cluster, topic, partition, start, end)) as walked:
        async for batch, is_data in walked:
            _check_gap(topic, partition, at, min(batch.base_offset, end))
            at = batch.last_offset + 1
            if batch.is_control:
                continue
            _check_whole(topic, partition, batch, is_data, start, end)
            waiting.append(batch)
            count += batch.count
            if count >= _TOGETHER:
                found = _columns(topic, partition, waiting, start, end, mark)
                waiting, count = [], 0
                if found.keys:
                    yield found
    _check_gap(topic, partition, at, end)
    if waiting:
        found = _columns(topic, partition, waiting, start, end, mark)
        if found.keys:  # records of fence.py are none
            yield found


def _check_gap(topic: str, partition: int, at: int, behind: int) -> None:
    if behind > at:
        raise DataMissing(f"{topic}[{partition}]: offsets {at} to {behind - 1} are not in the log", hint=_COMPACTED)


def _check_whole(topic: str, partition: int, batch: Batch, is_data: bool, start: int, end: int) -> None:
    """DataMissing unless the batch has a readable record at each of its offsets that the range asks for."""
    first, last = max(batch.base_offset, start), min(batch.last_offset, end - 1)
    if not is_data and batch.count:
        raise DataMissing(
            f"{topic}[{partition}]: offsets {first} to {last} were written by a transaction that was aborted",
            hint=f"name ranges without them: up to {first}, or from {last + 1} on",
        )
    if batch.count != batch.last_offset - batch.base_offset + 1:
        there = {record.offset for record in records(batch)}
        missing = [offset for offset in range(first, last + 1) if offset not in there]
        if missing:
            raise DataMissing(
                f"{topic}[{partition}]: {len(missing)} of the offsets {missing[0]} to {missing[-1]} are not in the log",
                hint=_COMPACTED,
            )


def _columns(topic: str, partition: int, batches: list[Batch], start: int, end: int, mark: str) -> RecordColumns:
    found = record_columns(topic, partition, batches, mark)
    if len(found.offsets) > 1 and not (np.diff(found.offsets) > 0).all():
        raise DataMissing(f"{topic}[{partition}]: a batch near offset {found.offsets[0]} numbers its records wrongly")
    return found.between(start, end)
