"""What `headwater replicate verify` has found of a partition."""

from __future__ import annotations

import hashlib

import msgspec

from headwater.transport.kafka_batch import Cluster
from replicator import logs
from replicator.fresh.parts import Span, within
from replicator.logs import Start
from replicator.position import Gap, Position
from replicator.proof.finding import DROPPED
from replicator.proof.ranges import Range
from replicator.way import Way

RECORDS = "records"
KEYS = "newest of each key"
RULED = "what rules ship"
_END = 1 << 62


class Comparison(msgspec.Struct, frozen=True):
    """One partition. The digests are SHA-256 over the compared records of each side: equal where they agree.

    `waiting` records are at the source only, behind everything shipped; offsets in open transactions count as such.
    `skipped` are the target's that the source has no more, of another log, or doubled ones that a gap names. Of the
    compared ones, `replaced` are there as what stands for them (quarantine.py), with the digest of the source's.
    `filtered` records of the source were left out by rules; the others are compared as the rules make them.
    `compares` says what: each record, the newest one of each key, or what rules ship.
    `swapped` records stand in another place; `ranges` names what differs, the first thousand of them.
    `gaps`: what the link itself has named as gone, doubled or of another log, which is in none of the counts.
    """

    topic: str
    partition: int
    compared: int
    missing: int
    doubled: int
    altered: int
    waiting: int
    skipped: int
    source_sha256: str
    target_sha256: str
    remark: str = ""
    replaced: int = 0
    swapped: int = 0
    ranges: list[Range] = []
    filtered: int = 0
    compares: str = RECORDS
    gaps: list[Gap] = []

    @property
    def agrees(self) -> bool:
        """Whether nothing is missing, doubled, swapped or altered."""
        return not (self.missing or self.doubled or self.altered or self.swapped)


def nothing_compared(way: Way, why: str) -> Comparison:
    """A partition of which there is nothing to compare."""
    empty = hashlib.sha256().hexdigest()
    return Comparison(way.ledger, way.partition, 0, 0, 0, 0, 0, 0, empty, empty, why)


async def without_target(source: Cluster, way: Way, position: Position, spans: list[Span]) -> Comparison:
    """A partition whose target is gone: what was shipped of the records that the source still has is missing.

    `spans`: source offsets [first, end) that are this stream's. Transient: the source does not answer.
    """
    first, end, _ = await logs.decided(source, way.topic, way.partition)
    shipped_to = position.source_next if position.target_next else 0
    missing = await _ranges(source, way, within(spans, first, min(shipped_to, end)))
    waiting = await _ranges(source, way, within(spans, max(first, shipped_to), end))
    went = f"any more; what was shipped to it, up to its offset {position.target_next - 1}, is missing"
    why = f"{way}: there is no {way.target}[{way.partition}] at the target {went if position.target_next else 'yet'}"
    return msgspec.structs.replace(
        nothing_compared(way, why),
        missing=sum(each.records for each in missing),
        waiting=sum(each.records for each in waiting),
        ranges=missing,
    )


async def _ranges(source: Cluster, way: Way, spans: list[Span]) -> list[Range]:
    found = []
    for first, end in spans:
        counted = await logs.count_on(source, way, Start(first, 0), _END, end)
        if counted.count:
            found.append(Range(DROPPED, counted.count, (first, counted.offset), (0, 0)))
    return found
