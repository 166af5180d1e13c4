"""What a link remembers of itself, in the compacted topic `<site>.positions.internal` at the target.

| key | value |
|---|---|
| `producer` | Identity |
| `<topic>/<partition>` | Position |
| `gap/<topic>/<partition>/<era>` | Gap |

Values are canonical JSON with a `v`. Offsets are Kafka's; counts are records.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput

PRODUCER_KEY = b"producer"
GAP_PREFIX = "gap/"
FIRST_ERA = 0
LAST_ERA = 0x7FFF  # an era is a producer epoch, which is an int16

T = TypeVar("T", bound=msgspec.Struct)


class Identity(msgspec.Struct, frozen=True):
    """The producer id under which this link, and nobody else, writes to its target topics."""

    pid: int
    v: int = 1


class Mark(msgspec.Struct, frozen=True):
    """A batch of the source log by which that log is known again: its offsets [base, next) and its CRC-32C.

    `count` records of the era had been shipped with it.
    """

    base: int
    next: int
    crc: int
    count: int


class Ruled(msgspec.Struct, frozen=True):
    """Since when the rules whose digest this is (records/chain.py) apply to a partition: offsets at source and target.

    To go on they must know the records from the source offset `began` on; None: no record before the next one matters.
    """

    digest: str
    source_since: int
    target_since: int
    began: int | None = None


class Position(msgspec.Struct, frozen=True):
    """Up to where one partition was shipped and acknowledged.

    An era is a stretch without a gap: in it, record number `count` at the target is the `count`-th data record at or
    after `source_first`. The era is the producer epoch and the number (mod 2^31) the sequence of what is written.
    `trail` holds marks from old to new, the last one ending before `source_next`. `source_id` is the topic's id at the
    source (KIP-516), empty where it is not known. `ruled`: the partition has rules, or had some: records were left out,
    so that their numbers tell nothing any more.
    """

    era: int
    source_first: int
    source_next: int
    count: int
    target_next: int
    trail: tuple[Mark, ...] = ()
    at: int = 0
    source_id: str = ""
    v: int = 1
    ruled: Ruled | None = None

    @property
    def target_first(self) -> int:
        """Offset at the target of record number 0 of this era."""
        return self.target_next - self.count


TRAIL_LENGTH = 24


def thinned(trail: tuple[Mark, ...], newest: Mark) -> tuple[Mark, ...]:
    """Add a mark; beyond TRAIL_LENGTH drop the one whose neighbours are closest for their age, so that gaps double.

    A trail of n marks so reaches back about 2^n times the distance of the newest two, whatever that is.
    """
    marks = [mark for mark in trail if mark.base < newest.base] + [newest]
    if len(marks) > TRAIL_LENGTH:
        ages = [newest.next - mark.base for mark in marks]
        spare = min(range(1, len(marks) - 1), key=lambda i: ages[i - 1] / ages[i + 1])
        del marks[spare]
    return tuple(marks)


RETENTION = "retention"
DIVERGED = "diverged"
RECREATED = "recreated"
TRUNCATED = "truncated"
DOUBLED = "doubled"
CORRUPT = "corrupt"
UNREADABLE = "unreadable"


class Gap(msgspec.Struct, frozen=True):
    """Where one era ends and the next begins, and why; the offsets are [first, end).

    | cause | what happened to the offsets |
    |---|---|
    | retention | the source deleted them before they were shipped |
    | recreated | shipped from a topic that was deleted since, and made again |
    | truncated | shipped from a log that ends before them now |
    | diverged | shipped from a log that has other records there now |
    | doubled | of the target: they hold records twice |
    | corrupt | the batches there do not match their checksums |
    | unreadable | the batches there match their checksums and cannot be read |

    What the source has from `resumed_at` on is shipped in the new era.
    """

    topic: str
    partition: int
    cause: str
    first: int
    end: int
    resumed_at: int
    era: int  # of the records after the gap
    at: int
    v: int = 1


def position_key(topic: str, partition: int) -> bytes:
    """Key of a partition's position."""
    return f"{topic}/{partition}".encode()


def gap_key(gap: Gap) -> bytes:
    """Key of a gap record: one for each era, so that compaction keeps them all."""
    return f"{GAP_PREFIX}{gap.topic}/{gap.partition}/{gap.era}".encode()


def encode(value: msgspec.Struct) -> bytes:
    """Canonical JSON of one of the values above."""
    return canonical_json(value)


def decode(data: bytes | memoryview | None, kind: type[T], what: str) -> T:
    """Read one of the values above; BadInput for anything else, or of a later version."""
    try:
        value = msgspec.json.decode(data or b"", type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{what} is not readable: {error}", hint="the positions topic belongs to the replicator alone"
        ) from error
    if getattr(value, "v", 1) != 1:
        raise BadInput(f"{what} was written by a later version", hint="update this replicator")
    return value
