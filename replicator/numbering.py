"""Record numbers and Kafka sequences: the arithmetic of the sequence anchor.

A sequence is an int32 that goes from 2^31 - 1 back to 0 (DefaultRecordBatch.incrementSequence in Apache Kafka).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from headwater.contract.errors import Fenced, Refused
from replicator.position import Position

WRAP = 1 << 31


class TargetState(NamedTuple):
    """What the target knows of a partition: bounds of its log; epoch and last sequence of our producer, if known."""

    log_start: int
    log_end: int
    epoch: int | None
    last_sequence: int


class Stamp(NamedTuple):
    """Whose a batch at the target is, and which."""

    base_offset: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count
    producer_id: int
    epoch: int
    base_sequence: int


def sequence(number: int) -> int:
    """Sequence of record number `number` of an era."""
    return number % WRAP


def nearest(sequence_: int, near: int) -> int:
    """Number with this sequence that is nearest to `near`, and not negative."""
    ahead = (sequence_ - near) % WRAP
    number = near + (ahead if ahead < WRAP // 2 else ahead - WRAP)
    return number if number >= 0 else number + WRAP


def shipped(position: Position, target: TargetState, where: str) -> int:
    """How many records of `position`'s era the target has; Fenced if a later era has begun."""
    if target.epoch is None:
        return max(target.log_end - position.target_first, 0)
    if target.epoch > position.era:
        raise Fenced(
            f"{where}: era {target.epoch} has begun, this replicator is in era {position.era}",
            hint="another replicator runs for this site; end one of them",
        )
    if target.epoch < position.era:
        return 0
    return nearest((target.last_sequence + 1) % WRAP, position.count)


class Recount(NamedTuple):
    """What the target really holds from a position on: records of the era, and offsets [first, end) of strays.

    A stray is a batch of ours that is not the next one: the broker had forgotten the producer and took it again.
    """

    number: int
    target_next: int
    strays: tuple[int, int] | None
    last_sequence: int


def recount(position: Position, pid: int, found: Iterable[Stamp], where: str) -> Recount:
    """Go through the target's batches from `position` on; Refused where one is somebody else's."""
    number, following, last_sequence = position.count, position.target_next, -1
    strays: tuple[int, int] | None = None
    for stamp in found:
        if stamp.producer_id != pid or stamp.epoch > position.era:
            raise foreign(where, following, stamp.base_offset)
        last_sequence = (stamp.base_sequence + stamp.count - 1) % WRAP
        following = stamp.base_offset + stamp.count
        if stamp.epoch == position.era and stamp.base_sequence == sequence(number):
            number += stamp.count
        elif number:  # before its first record an era may be preceded by late batches of the former one
            strays = (strays[0] if strays else stamp.base_offset, following)
    return Recount(number, following, strays, last_sequence)


def foreign(where: str, expected: int, found: int) -> Refused:
    """Build the error for a target that somebody else writes to; both are target offsets."""
    return Refused(
        f"{where}: the next record belongs at offset {expected}, the log is at {found}: somebody else writes to it",
        hint="a topic <site>.<topic> belongs to one replicator; end the other writer, then ship to a new site name",
    )
