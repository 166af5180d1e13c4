"""The `status` record of an edge: built here, written by the scorer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from edge_agent.scorer import partition as counted
from edge_agent.scorer.partition import Partition
from headwater import __version__
from headwater.contract.desired import Desired
from headwater.contract.messages import Active, Refusal, Status, decode
from headwater.contract.windows import Charge
from headwater.transport.kafka_batch.records import Record

VOID, _MOST_VOID = "void", 100  # machines whose limits do not hold; so many are named
AGENT = f"headwater/{__version__}"
_COUNTS = (
    counted.READINGS,
    counted.WINDOWS,
    counted.BEFORE_MODEL,
    counted.DEAD_LETTERS,
    counted.NOT_FINITE,
    counted.UNHEEDED,
    counted.UNPLACED,
    counted.MISSED,
)


def last_seq(records: Iterable[Record], site: str) -> int:
    """The sequence number of this site's last status, 0 when there is none."""
    own = [decode(record.value, Status).seq for record in records if record.key == site.encode() and record.value]
    return max(own, default=0)


def active(partitions: Sequence[Partition]) -> dict[str, Active]:
    """By class the version in charge; while a swap is under way, the newer one with the partitions that have it."""
    newest: dict[str, Charge] = {}
    for charge in (charge for partition in partitions for charge in partition.charges.values()):
        known = newest.get(charge.asset_class)
        if known is None or charge.swapped_at > known.swapped_at:
            newest[charge.asset_class] = charge
    return {name: _active(charge, partitions) for name, charge in sorted(newest.items())}


def _active(newest: Charge, partitions: Sequence[Partition]) -> Active:
    charges = {partition.number: partition.charges.get(newest.asset_class) for partition in partitions}
    same = {
        number: charge
        for number, charge in charges.items()
        if charge is not None and (charge.version, charge.sha256) == (newest.version, newest.sha256)
    }
    return Active(
        version=newest.version,
        sha256=newest.sha256,
        since={str(number): charge.since for number, charge in same.items()},
        swapped_at=newest.swapped_at,
        swap_ms=max(charge.swap_ms for charge in same.values()),
        source=newest.source,
    )


def status(
    site: str,
    seq: int,
    now_ms: int,
    runtime: str,
    partitions: Sequence[Partition],
    desired: Desired,
    refused: Sequence[Refusal],
) -> Status:
    """The whole state of the edge; `refused` are the scorer's own refusals."""
    totals = [partition.totals() for partition in partitions]
    void = sorted((one for partition in partitions for one in partition.void()), key=lambda one: (one.t, one.asset))
    return Status(
        site=site,
        seq=seq,
        at=now_ms,
        agent=AGENT,
        runtime=runtime,
        active=active(partitions),
        generation=dict(desired.generations),
        refused=[*desired.refused, *refused],
        updater=msgspec.to_builtins(desired.updater),
        counts={**{name: sum(each.get(name, 0) for each in totals) for name in _COUNTS}, VOID: len(void)},
        void=void[:_MOST_VOID],
    )
