"""What a link has said of its losses, read back for `headwater replicate status`."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import structs

from headwater.contract.errors import BadInput, Permanent
from headwater.contract.topics import gaps
from headwater.transport.kafka_batch import Cluster, Record, read_compacted
from headwater.transport.kafka_batch.administration import topic_configs
from replicator.limits import NAMES, NO_LIMIT, Limits, limits_in
from replicator.notices import Notice
from replicator.position import decode
from replicator.standing import Standing, standing_key

if TYPE_CHECKING:
    from replicator.status import PartitionStatus


async def said(target: Cluster, site: str) -> list[Notice]:
    """All that stands in the gaps topic; nothing where there is none."""
    topic = gaps(site).name
    try:
        kept = await read_compacted(target, topic, 0)
    except BadInput:
        return []
    return [decode(record.value, Notice, f"{topic}, key {key!r}") for key, record in kept.items()]


async def limits_of(target: Cluster, topic: str) -> Limits:
    """What a target topic takes, as far as this user may ask."""
    try:
        return limits_in(await topic_configs(target, topic, NAMES))
    except Permanent:
        return Limits()


def by_number(kept: dict[bytes, Record], topic: str, partition: int, engine: str) -> bool:
    """Whether the batch engine carries a partition, and did so last: then the target's offsets are record numbers."""
    record = kept.get(standing_key(topic, partition))
    carried = record and decode(record.value, Standing, f"the standing of {topic}[{partition}]").engine
    return {engine, carried or engine} == {"batch"}


def told(
    found: PartitionStatus, topic: str, kept: dict[bytes, Record], notices: list[Notice], retention_ms: int
) -> PartitionStatus:
    """Add to a partition's figures what the link has said of it."""
    record = kept.get(standing_key(topic, found.partition))
    standing = decode(record.value, Standing, f"the standing of {topic}[{found.partition}]") if record else Standing("")
    own = [each for each in notices if (each.topic, each.partition) == (topic, found.partition) and each.replaced]
    return structs.replace(
        found,
        state="halted" if standing.halted else found.state,
        engine=standing.engine or found.engine,
        reworked=standing.reworked,
        replaced=dict(Counter(each.cause for each in own)),
        void=standing.void,
        void_next=bool(found.lag_records) and retention_ms < NO_LIMIT and found.lag_s * 1000 > retention_ms,
        halted=standing.halted,
        hint=standing.hint,
        exit_code=standing.exit_code,
        filtered=standing.filtered,
        unreadable=standing.unreadable,
        tried=standing.tried,
    )


def sentences(topic: str, found: PartitionStatus) -> list[str]:
    """What people must know of a partition, beside its figures."""
    where, lines = f"{topic}[{found.partition}]", []
    if found.halted:
        lines.append(f"halted: {found.halted}" + (f" ({found.hint})" if found.hint else ""))
    if found.tried:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.tried / 1000))
        lines.append(f"{where}: last tried at {at}, and again by itself while the link runs")
    if found.missing:
        lines.append(f"{where}: offsets {found.missing[0]} to {found.missing[1] - 1} were deleted unshipped")
    if found.lost:
        again = "a link that runs ships them again within a minute, if the source still has them"
        what = "records" if found.engine == "batch" else "offsets (records, and markers of transactions)"
        lines.append(f"{where}: the target has lost the last {found.lost} {what} that it had acknowledged; {again}")
    if found.undecided:
        lines.append(f"{where}: {found.undecided} offsets wait for an open transaction of a producer at the source")
    if found.replaced:
        lines.append(f"{where}: the target did not take {_counted(found.replaced)}; something else stands for them")
    if found.filtered:
        lines.append(f"{where}: left out by rules: {_counted(found.filtered)}")
    if found.unreadable:
        lines.append(f"{where}: values that a rule could not read: {_counted(found.unreadable)}")
    if found.reworked:
        lines.append(f"{where}: batches built anew: {_counted(found.reworked)}")
    if found.void or found.void_next:
        shipped = f"{found.void} records were shipped that" if found.void else "what is shipped next"
        lines.append(f"{where}: {shipped} the target deletes at once, being older than its retention.ms")
    return lines


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in sorted(counts.items()))
