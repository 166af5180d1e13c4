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


async def twin(probe: Cluster, way: Way, last: Batch, first: int, end: int, beyond: int, least: int) -> int | None:
    """Offset behind the source records in [first, end) that equal the end of the batch `last` of the target.

    `beyond` is how many records they can be behind `first` at most. The offset is never below `least`, and is just that
    where every offset holds a record: in a run of equal records nothing else tells them apart. None: they are not
    there, or are in such a run and not at `least`.
    """
    wanted = records(last)[-_TWIN_RECORDS:]
    seen: deque[Record] = deque(maxlen=len(wanted))  # fewer at the start of the log: deleted ones
    place = None
    end = min(end, first + 2 * beyond + _MARKERS)
    async with aclosing(logs.contents(probe, way.topic, way.partition, first, end)) as found:
        async for record in found:
            if place is not None:
                return None if same(wanted[-1], record) else place
            seen.append(record)
            if record.offset + 1 >= least and all(map(same, wanted[-len(seen) :], seen)):
                place = record.offset + 1
                if place == least:
                    return place
    return place
