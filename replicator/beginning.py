"""Where a partition begins that was never shipped."""

from __future__ import annotations

from headwater.contract.errors import Refused
from replicator.engine import Ends
from replicator.position import FIRST_ERA, Position
from replicator.way import Way


async def first_position(way: Way, ends: Ends, source_id: str = "") -> Position:
    """Store the position before the first record of the source; Refused where the target has records already."""
    end = (await ends.target.offsets(way.target, "latest"))[way.partition]
    if end:
        raise Refused(
            f"{way} has records up to offset {end - 1}, but no position is stored for it",
            hint="`headwater replicate adopt` goes on behind what MirrorMaker copied; else ship to a new site name",
        )
    first = (await ends.probe.offsets(way.topic, "earliest"))[way.partition]
    position = Position(FIRST_ERA, first, first, 0, 0, at=ends.clock(), source_id=source_id)
    await ends.journal.store([(way, position)])
    return position
