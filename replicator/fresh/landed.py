"""How much of the era before a leap is at the target, where its retention may have deleted some of that already."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from headwater.contract.errors import DataMissing, Transient
from headwater.transport.kafka_batch import Batch
from replicator import logs
from replicator.engine import Ends
from replicator.logs import Start
from replicator.numbering import WRAP, Stamp, nearest, recount, sequence
from replicator.position import FIRST_ERA, Position
from replicator.twins import twin
from replicator.way import Way


async def landed_to(ends: Ends, live: Way, before: Position, target_end: int, source_end: int) -> int:
    """Source offset behind the last record of the era of `before` at the target, which ends there at `target_end`.

    `source_end`: where the range ends that was set aside. Transient: a cluster is away, or a log changes meanwhile.
    """
    log_first, _ = await logs.bounds(ends.target, live.target, live.partition)
    pid = await ends.journal.producer_id(ends.target)
    stamps = await logs.stamps(ends.target, live, max(before.target_next, log_first), target_end)
    former = [each for each in stamps if each.epoch <= before.era]
    number = landed(before, pid, former, log_first, target_end, str(live))
    if number <= before.count:
        return before.source_next
    first, end = await logs.bounds(ends.probe, live.topic, live.partition)
    if first <= before.source_next:
        start = Start(before.source_next, before.count)
        return (await logs.count_on(ends.probe, live, start, number, source_end)).offset
    # The source has deleted what is to be counted: its place is where the target's last record is, if both are there.
    beyond, found = number - before.count, None
    least = before.source_next + beyond
    if former and former[-1].epoch == before.era and _end(former[-1], before) == number:
        last = await _batch_before(ends, live, log_first, target_end)
        if last is not None:
            found = await twin(ends.probe, live, last, first, min(end, source_end), beyond, least)
    return least if found is None else found  # never behind what is not at the target


async def _batch_before(ends: Ends, live: Way, log_first: int, target_end: int) -> Batch | None:
    try:
        return await logs.last_batch(ends.target, live.target, live.partition, log_first, target_end)
    except DataMissing as error:
        raise Transient(f"{live}: the target's log changes while it is read: {error}") from error


def _end(stamp: Stamp, before: Position) -> int:
    """Number of the record behind a batch."""
    return nearest((stamp.base_sequence + stamp.count) % WRAP, before.count)


def landed(before: Position, pid: int, former: Sequence[Stamp], log_first: int, target_end: int, where: str) -> int:
    """How many records of the era of `before` are or were at the target; `former` are its batches that are left there.

    Where nothing is left that tells, offsets do: a life that ends has nothing under way but what comes next.
    """
    if log_first <= before.target_next:
        return recount(before, pid, former, where).number
    own = [each for each in former if each.epoch == before.era]
    # Before the first record of an era late ones of the era before it may come, and take offsets.
    by_offset = before.count > 0 or before.era == FIRST_ERA
    if not own:
        return before.count + (target_end - before.target_next if by_offset and not former else 0)
    count = before.count + own[0].base_offset - before.target_next
    if by_offset and own[0].base_sequence == sequence(count):
        here = structs.replace(before, count=count, target_next=own[0].base_offset)
        return recount(here, pid, own, where).number
    return max(_end(each, before) for each in own)
