"""From what a fetch brought to chunks of readings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from headwater.transport.kafka_batch.calls import Fetched
from headwater.transport.kafka_batch.reading import checked_records, judged
from headwater.transport.kafka_batch.records import Record


class Chunk(NamedTuple):
    """Consecutive records of a partition; `upto` is the offset to go on from, behind markers too."""

    records: list[Record]
    upto: int


def chunks(part: Fetched, position: int, most: int, *, until: int | None = None) -> Iterator[Chunk]:
    """Cut the records from `position` on into chunks of at most `most`; none at `until` or later.

    BadInput: a batch is corrupt.
    """
    taken: list[Record] = []
    upto = position
    for batch, is_data in judged(part):
        if batch.last_offset < upto:
            continue
        for record in checked_records(part.topic, part.partition, batch) if is_data else ():
            if record.offset < upto:
                continue
            if until is not None and record.offset >= until:
                yield Chunk(taken, until)
                return
            taken.append(record)
            if len(taken) == most:
                yield Chunk(taken, record.offset + 1)
                taken, upto = [], record.offset + 1
        upto = batch.last_offset + 1
    upto = upto if until is None else min(upto, until)
    if taken or upto > position:
        yield Chunk(taken, upto)
