"""Record numbers and Kafka sequences: the arithmetic of the sequence anchor.

A sequence is an int32 that goes from 2^31 - 1 back to 0 (DefaultRecordBatch.incrementSequence in Apache Kafka).
"""

from __future__ import annotations

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


def sequence(number: int) -> int:
    """Sequence of record number `number` of an era."""
    return number % WRAP


def nearest(sequence_: int, near: int) -> int:
    """Number with this sequence that is nearest to `near`, and not negative."""
    ahead = (sequence_ - near) % WRAP
    number = near + (ahead if ahead < WRAP // 2 else ahead - WRAP)
    return number if number >= 0 else number + WRAP


def shipped(position: Position, target: TargetState, where: str) -> int:
    """How many records of `position`'s era the target has.

    Fenced: a later era has begun, so another life of this link is at work. Refused: there are records that this link
    did not write, so that numbers and offsets no longer agree.
    """
    if target.epoch is None:
        number = target.log_end - position.target_first
    elif target.epoch > position.era:
        raise Fenced(
            f"{where}: era {target.epoch} has begun, this replicator is in era {position.era}",
            hint="another replicator runs for this site; end one of them",
        )
    elif target.epoch < position.era:
        return 0
    else:
        number = nearest((target.last_sequence + 1) % WRAP, position.count)
    # The high watermark may lie before what the leader has; beyond it, somebody else has written.
    if position.count and target.log_end > position.target_first + number:
        raise foreign(where, position.target_first + number, target.log_end)
    return max(number, 0)


def foreign(where: str, expected: int, found: int) -> Refused:
    """Build the error for a target that somebody else writes to; both are target offsets."""
    return Refused(
        f"{where}: the next record belongs at offset {expected}, the log is at {found}: somebody else writes to it",
        hint="a topic <site>.<topic> belongs to one replicator; end the other writer, then ship to a new site name",
    )
