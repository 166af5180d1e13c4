"""Going on where MirrorMaker 2, or another copier of records, has stopped: nothing is shipped again or left out.

The last records of a target partition are looked for at the source, where they are equal in time, key, value and
headers; the first position of the link stands behind them. A copier that repeats records at a restart leaves repeats in
the middle, not another last record. Of compacted topics the whole state is shipped once more: the newest of each key
counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from typing import Literal

import msgspec

from headwater.contract.errors import BadInput, Refused, Transient, Unreachable
from headwater.contract.topics import MANIFEST_KEPT_MS, gaps, manifest, positions
from headwater.transport.kafka_batch import Cluster, Record, read_tail, records
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.reading import walk
from replicator import logs, targets
from replicator.engine import now_ms
from replicator.journal import Journal
from replicator.mm2.refresh import chosen
from replicator.operating.live import ask, folder_of
from replicator.position import FIRST_ERA, Position
from replicator.settings import ReplicatorSettings
from replicator.status import Kept, position_in, stored
from replicator.way import Way

_TAIL_RECORDS = 32
State = Literal["adopted", "shipped already", "empty", "not adopted"]


class Adopted(msgspec.Struct, frozen=True):
    """One partition: the first source offset that the link will ship, and the target offset that it goes to."""

    topic: str
    partition: int
    state: State
    source_next: int = -1
    target_next: int = -1
    remark: str = ""


async def adopt(settings: ReplicatorSettings) -> list[Adopted]:
    """Store first positions for what another has copied; the other one must have stopped, and so must the link.

    Partitions that a link has shipped before are left as they are; where all are, nothing is written and nobody is shut
    out. Unreachable: a cluster does not answer. Refused: the target is still written to, or the link runs here.
    """
    await asyncio.to_thread(_refuse_beside_a_link, settings.site)
    client_id = f"headwater-adopt-{settings.site}"
    async with (
        Cluster(settings.source, client_id=client_id) as source,
        Cluster(settings.target, client_id=client_id) as target,
    ):
        kept, found = await stored(target, settings.site), list[Adopted]()
        for topic in await chosen(source, settings):
            found += await _look_at_topic(source, target, kept, settings, topic)
        if any(each.state == "adopted" for each in found):
            found = await _store(target, settings, found)
        return found


def _refuse_beside_a_link(site: str) -> None:
    with suppress(Unreachable):
        running = ask(folder_of(site))
        raise Refused(
            f"the replicator of {site} runs, process {running.pid}; adopting would shut it out",
            hint=f"stop it first, process {running.pid}; then repeat",
        )


async def _store(target: Cluster, settings: ReplicatorSettings, found: Sequence[Adopted]) -> list[Adopted]:
    """Take over from whoever has the link, and store where the partitions go on that nobody has shipped by now."""
    site, copies = settings.site, settings.replication_factor
    for spec in (positions(site), gaps(site), manifest(site, MANIFEST_KEPT_MS)):
        await create_topic(target, spec, replication_factor=copies)
    journal, rows = await Journal.open(target, site), list[Adopted]()
    try:
        for each in found:
            known = journal.position(each.topic, each.partition)
            if each.state != "adopted" or known is not None:
                rows.append(each if known is None else _shipped_already(each.topic, each.partition, known))
                continue
            way = settings.way(each.topic, each.partition)
            if (await target.offsets(way.target, "latest"))[way.partition] != each.target_next:
                raise Refused(f"{way} is still written to", hint="stop MirrorMaker, then repeat")
            at = each.source_next
            await journal.store([(way, Position(FIRST_ERA, at, at, 0, each.target_next, at=now_ms()))])
            rows.append(each)
    finally:
        await journal.close()
    return rows


def _shipped_already(topic: str, partition: int, known: Position) -> Adopted:
    return Adopted(topic, partition, "shipped already", known.source_next, known.target_next)


async def _look_at_topic(
    source: Cluster, target: Cluster, kept: Kept, settings: ReplicatorSettings, topic: str
) -> list[Adopted]:
    try:
        count = await target.partitions(settings.names.remote(topic))
        spec = await targets.spec_at_source(source, topic)
    except (BadInput, Transient) as error:
        if isinstance(error, Unreachable):
            raise
        return []  # not at both ends: nobody has copied it
    compacted = targets.is_compacted(spec)
    ways = [settings.way(topic, partition) for partition in range(min(count, spec.partitions))]
    return [await _look(source, target, kept, way, compacted=compacted) for way in ways]


async def _look(source: Cluster, target: Cluster, kept: Kept, way: Way, *, compacted: bool) -> Adopted:
    end = (await target.offsets(way.target, "latest"))[way.partition]
    place = (way.topic, way.partition)
    if (known := position_in(kept, *place)) is not None:
        return _shipped_already(*place, known)
    if not end:
        return Adopted(*place, "empty")
    at: int | None
    if compacted:
        at = (await source.offsets(way.topic, "earliest"))[way.partition]
        remark = "shipped again from the start: of a compacted topic the newest of each key counts"
    else:
        at, remark = await _behind_the_last(
            source, way, await read_tail(target, way.target, way.partition, _TAIL_RECORDS)
        )
    if at is None:
        return Adopted(*place, "not adopted", remark=remark)
    return Adopted(*place, "adopted", at, end, remark)


async def _behind_the_last(source: Cluster, way: Way, tail: Sequence[Record]) -> tuple[int | None, str]:
    """Source offset behind the record that the tail ends with, or why it is not known."""
    if not tail:
        return None, "the target has no records left to compare: the place cannot be known"
    first, end = await logs.bounds(source, way.topic, way.partition)
    by_time = (await source.offset_at(way.topic, min(max(each.timestamp_ms, 0) for each in tail)))[way.partition]
    starts = [start for start in (by_time, first) if start is not None]
    for start in dict.fromkeys(starts):
        found = await _matches(source, way, tail, start, end)
        if len(found) == 1:
            return found[0], ""
        if found:
            return None, f"the last records are at several places of the source, behind offsets {_told(found)}"
    return None, "the last record of the target is not at the source: deleted there, or changed on the way"


async def _matches(source: Cluster, way: Way, tail: Sequence[Record], start: int, end: int) -> list[int]:
    """Offsets behind the source records that agree with the tail for the longest stretch, its last one included."""
    wanted = [each[1:] for each in reversed(tail)]
    seen: deque[tuple[object, ...]] = deque(maxlen=len(wanted))
    best, found = 1, list[int]()
    async with aclosing(_all_records(source, way, start, end)) as each:
        async for record in each:
            seen.appendleft(record[1:])
            agreed = next((n for n, (a, b) in enumerate(zip(seen, wanted, strict=False)) if a != b), len(seen))
            if agreed > best:
                best, found = agreed, []
            if agreed == best:
                found.append(record.offset + 1)
    return found


async def _all_records(source: Cluster, way: Way, start: int, end: int) -> AsyncGenerator[Record, None]:
    """Records of the source, aborted ones too: MirrorMaker copies them unless it is told not to."""
    if start >= end:
        return
    async with aclosing(walk(source, way.topic, way.partition, start, end)) as walked:
        async for batch, _ in walked:
            for record in records(batch) if not batch.is_control else ():
                if record.offset >= start:
                    yield record


def _told(offsets: Sequence[int]) -> str:
    shown = ", ".join(str(offset - 1) for offset in offsets[:3])
    return shown if len(offsets) <= 3 else f"{shown} and {len(offsets) - 3} more"
