"""What did not arrive as it was: one record each in the compacted topic `<site>.gaps.internal`, for everybody to read.

The key is `<topic>/<partition>/<era>/<from>`, with `/replaced` behind it for a replaced record, which may be the first
one behind a gap. A link that says the same again after a crash says it under the same key.
Values are canonical JSON:

| field | meaning |
|---|---|
| topic, partition | at the source |
| target | topic at the target |
| cause | of a gap as in position.py, of a replaced record its reasons as in quarantine.py |
| from, to | first and last offset, both included: of the target for `doubled`, else of the source |
| replaced | whether something stands for the record at the target, in its place |
| halted | whether the partition stands still in front of it |
| era | of the records behind it; of a replaced record, its own |
| at | when it was said, ms since 1970 |
| sha256, bytes | of a replaced record: digest (fingerprint.py) in hex, and bytes of its key, value and headers |
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from headwater.transport.kafka_batch import Record
from replicator import fingerprint, quarantine
from replicator.position import Gap
from replicator.quarantine import REASONS
from replicator.way import Way


class Notice(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to", "size": "bytes"}):
    """See the table above."""

    topic: str
    partition: int
    target: str
    cause: str
    first: int
    last: int
    era: int
    at: int
    replaced: bool = False
    halted: bool = False
    sha256: str = ""
    size: int = 0
    v: int = 1

    @property
    def key(self) -> bytes:
        """Key of the record."""
        kind = "/replaced" if self.replaced else ""
        return f"{self.topic}/{self.partition}/{self.era}/{self.first}{kind}".encode()


def of_gap(way: Way, gap: Gap, *, halted: bool) -> Notice:
    """What a gap is said as."""
    return Notice(
        gap.topic, gap.partition, way.target, gap.cause, gap.first, gap.end - 1, gap.era, gap.at, halted=halted
    )


def of_replaced(way: Way, era: int, record: Record, reasons: Collection[str], at: int) -> Notice:
    """What a replaced record is said as."""
    return Notice(
        way.ledger,
        way.partition,
        way.target,
        "+".join(reason for reason in REASONS if reason in reasons),
        record.offset,
        record.offset,
        era,
        at,
        replaced=True,
        sha256=fingerprint.digest(record).hex(),
        size=quarantine.size(record),
    )
