"""Compacted topics: the newest record of each key at the source against that at the target, for `verify`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import aclosing

from headwater.transport.kafka_batch import Cluster, Record
from headwater.transport.kafka_batch.reading import checked_records, walk
from replicator import logs
from replicator.fingerprint import canonical
from replicator.position import Position
from replicator.quarantine import plain, source_offset, stands_for
from replicator.way import Way


class States:
    """Counts are of keys, as in proof.comparison.Comparison."""

    def __init__(self) -> None:
        self.compared = self.missing = self.doubled = self.altered = self.waiting = self.skipped = 0
        self.remark = ""
        self.digests = (hashlib.sha256(), hashlib.sha256())


async def compare(source: Cluster, target: Cluster, way: Way, position: Position) -> States:
    """Compare two logs of which one is compacted, or both.

    What was written before the target was compacted carries no source offset. Keys whose records the source has deleted
    since by retention are skipped. BadInput: a batch does not fit its checksum. Transient: a cluster does not answer.
    """
    bounds = await logs.bounds(target, way.target, way.partition)
    first, end, written = await logs.decided(source, way.topic, way.partition)  # then: the link may run meanwhile
    ours = await _newest(source, (way.topic, way.partition), (first, end), lambda each: _name(way, each.offset))
    theirs = await _newest(target, (way.target, way.partition), bounds, lambda each: _name(way, source_offset(each)))
    found = States()
    waits = {key for key, record in ours.items() if record.offset >= position.source_next}
    absent = ours.keys() - theirs.keys() - waits
    both = ours.keys() & theirs.keys() - waits
    for key in sorted(both):
        here = canonical(ours[key])
        there = here if _agrees(theirs[key], ours[key]) else canonical(plain(theirs[key]))
        found.altered += here != there
        found.digests[0].update(here)
        found.digests[1].update(there)
    for key in theirs.keys() - ours.keys():
        at = source_offset(theirs[key]) or 0
        found.skipped += at < first
        found.doubled += first <= at < position.source_next
    found.compared, found.missing, found.waiting = len(both), len(absent), len(waits) + written - end
    found.remark = next((f"{way}: key {key!r} is missing" for key in sorted(absent)), "")
    return found


def _agrees(there: Record, here: Record) -> bool:
    return here[1:] in (there[1:], plain(there)[1:]) or stands_for(there, here)


def _name(way: Way, offset: int | None) -> bytes:
    """What stands in a compacted topic for a record without key has this one; see quarantine.py."""
    return f"{way.topic}/{way.partition}/{offset}".encode()


async def _newest(
    cluster: Cluster, log: tuple[str, int], span: tuple[int, int], name: Callable[[Record], bytes]
) -> dict[bytes, Record]:
    """The newest record of each key between two offsets, without those whose value is null."""
    found: dict[bytes, Record] = {}
    async with aclosing(walk(cluster, *log, *span)) as walked:
        async for batch, is_data in walked:
            for record in checked_records(*log, batch) if is_data else ():
                key = name(record) if record.key is None else record.key
                found.pop(key, None)
                if record.value is not None and span[0] <= record.offset < span[1]:
                    found[key] = record
    return found
