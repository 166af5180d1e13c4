"""The place in a source log whose records are those at the end of the target's."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing

from headwater.transport.kafka_batch import Batch, Cluster, Record, records
from replicator import logs
from replicator.quarantine import same
from replicator.way import Way

_TWIN_RECORDS = 16  # as many equal records in a row are the same records
_MARKERS = 1000  # offsets that hold no records, generously


async def twin(probe: Cluster, way: Way, last: Batch, first: int, end: int, beyond: int) -> int | None:
    """Offset behind the source records in [first, end) that equal the end of the batch `last` of the target.

    `beyond` is how many records they can be behind `first` at most. None: they are not there.
    """
    wanted = records(last)[-_TWIN_RECORDS:]
    seen: deque[Record] = deque(maxlen=len(wanted))  # fewer at the start of the log: deleted ones
    end = min(end, first + 2 * beyond + _MARKERS)
    async with aclosing(logs.contents(probe, way.topic, way.partition, first, end)) as found:
        async for record in found:
            seen.append(record)
            if all(map(same, wanted[-len(seen) :], seen)):
                return record.offset + 1
    return None
