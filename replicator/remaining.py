"""Does the target still have what it acknowledged? A link that writes nothing for a while would not see a loss.

A restored disk, an unclean leader, a topic that was deleted at the target: the next batch would be answered with an
offset that is too low, or refused. Until then nobody would ship again what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from headwater.contract.errors import Permanent, Transient
from headwater.transport.kafka_batch import Cluster, SetBack
from headwater.transport.kafka_batch.standing import ends
from replicator.flow import Flow
from replicator.journal import Journal
from replicator.way import Way

_log = structlog.get_logger(__name__)
_INTERVALS = 3  # of stored positions: 15 s by default
_BYTES = 100  # of a question and its answer
_BYTES_EACH = 60  # of each partition in them, names included, as a guess


class Remaining:
    """Of one life of a link. `worth_s` tells how long to rest after so many bytes."""

    def __init__(
        self,
        target: Cluster,
        journal: Journal,
        flows: Callable[[], Sequence[Flow]],
        interval_s: float,
        worth_s: Callable[[int], float],
    ) -> None:
        self._target, self._journal, self._flows = target, journal, flows
        self._every_s, self._worth_s = _INTERVALS * interval_s, worth_s
        self._reached: dict[Way, int] = {}  # where the target ended, as acknowledged, at the last look
        self._unknown: set[Way] = set()
        self._short: dict[Way, tuple[int, int | None]] = {}  # what was found at the last look
        self._written = 0

    async def run(self) -> None:
        """Look until cancelled. SetBack: the positions themselves are gone. Other trouble is left to who writes."""
        asked = 0
        while True:
            await asyncio.sleep(max(self._every_s, self._worth_s(_BYTES + _BYTES_EACH * asked)))
            try:
                asked = await self.look()
            except SetBack:
                raise
            except (Transient, Permanent):
                continue

    async def look(self) -> int:
        """Have partitions anchor that wrote nothing since the last look, and lack something; how many were asked for.

        What is written tells of itself.
        """
        flows = {each.engine.way: each for each in self._flows() if each.next_offset is not None}
        reached = {way: flow.engine.position.target_next for way, flow in flows.items() if flow.engine.position}
        idle = {(way.target, way.partition): way for way, end in reached.items() if self._reached.get(way) == end}
        self._reached = reached
        if self._journal.written_bytes == self._written:
            await self._journal.look_at_all()
        self._written = self._journal.written_bytes
        found = await ends(self._target, idle)
        unknown = {idle[pair] for pair, end in found.items() if end is None}
        short: dict[Way, tuple[int, int | None]] = {}
        for pair, end in found.items():
            way = idle[pair]
            if end is None and way not in self._unknown:  # a broker that has just started may not know it yet
                continue
            if (end or 0) < reached[way]:
                short[way] = reached[way], end
                if self._short.get(way) != short[way]:  # else an era without records, which begins where the log is
                    self._doubt(flows[way], *short[way])
        self._unknown, self._short = unknown, short
        return len(idle)

    def _doubt(self, flow: Flow, reached: int, end: int | None) -> None:
        what = "there is no such topic any more" if end is None else f"its log ends at {end}"
        _log.warning("the target was set back", way=str(flow.engine.way), acknowledged=reached, found=what)
        flow.doubt(f"{what}, what was acknowledged ends at {reached}")
