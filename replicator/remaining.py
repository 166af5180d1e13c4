"""Does the target still have what it acknowledged? A link that writes nothing for a while would not see a loss.

A restored disk, an unclean leader, a topic that was deleted at the target: the next batch would be answered with an
offset that is too low, or refused. Until then nobody would ship again what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from headwater.contract.errors import DataMissing, HeadwaterError, Permanent, Transient
from headwater.transport.kafka_batch import Cluster, SetBack, codes
from headwater.transport.kafka_batch.standing import ends
from headwater.transport.retry import Voice
from replicator.flow import Flow
from replicator.journal import Journal
from replicator.way import Way

_log = structlog.get_logger(__name__)
_LAST_WORD_S = 2.0
_INTERVALS = 3  # of stored positions: 15 s by default
_BYTES = 100  # of a question and its answer
_BYTES_EACH = 60  # of each partition in them, names included, as a guess


class Remaining:
    """Of one life of a link. `worth_s` tells how long to rest after so many bytes.

    `remake` makes a topic at the target again.
    """

    def __init__(
        self,
        target: Cluster,
        journal: Journal,
        flows: Callable[[], Sequence[Flow]],
        interval_s: float,
        worth_s: Callable[[int], float],
        remake: Callable[[str], Awaitable[None]],
    ) -> None:
        self._target, self._journal, self._flows = target, journal, flows
        self._every_s, self._worth_s, self._remake = _INTERVALS * interval_s, worth_s, remake
        self._reached: dict[Way, int] = {}  # where the target ended, as acknowledged, at the last look
        self._unknown: set[Way] = set()  # whose topic was not there at the last look
        self._forgotten = False  # as `_unknown`, of the positions
        self._voice = Voice(quiet_s=0.0)
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

        What is written tells of itself. A topic that is missing twice in a row is made again.
        """
        every = {each.engine.way: each for each in self._flows()}
        adrift = {(way.target, way.partition): way for way, flow in every.items() if flow.adrift}
        flows = {way: flow for way, flow in every.items() if flow.next_offset is not None}
        reached = {way: flow.engine.position.target_next for way, flow in flows.items() if flow.engine.position}
        idle = {(way.target, way.partition): way for way, end in reached.items() if self._reached.get(way) == end}
        self._reached = reached
        await self._look_at_positions()
        found = await ends(self._target, {**idle, **adrift})
        unknown = {way for pair, way in {**idle, **adrift}.items() if pair in found and found[pair] is None}
        gone = unknown & self._unknown  # a broker that has just started may not know it yet
        await self._make_again({way: every[way] for way in gone})
        short: dict[Way, tuple[int, int | None]] = {}
        for way in idle.values():
            end = found.get((way.target, way.partition), reached[way])
            if (way in gone or end is not None) and (end or 0) < reached[way]:
                short[way] = reached[way], end
                if self._short.get(way) != short[way]:  # else an era without records, which begins where the log is
                    self._doubt(flows[way], *short[way])
        self._unknown, self._short = unknown - gone, short
        return len(idle) + len(adrift)

    async def _look_at_positions(self) -> None:
        """What is written tells of itself, but for a topic that is missing, which is waited for."""
        if self._journal.written_bytes == self._written:
            try:
                await self._journal.look_at_all()
            except Transient as error:
                if codes.code_of(error) != codes.UNKNOWN_TOPIC_OR_PARTITION:
                    raise
                if self._forgotten:
                    raise SetBack(f"the positions are gone: {error}") from error
                self._forgotten = True
            else:
                self._forgotten = False
        self._written = self._journal.written_bytes

    async def _make_again(self, gone: dict[Way, Flow]) -> None:
        for name in {way.target for way in gone}:
            try:
                await self._remake(name)
            except Permanent as error:
                for flow in [flow for way, flow in gone.items() if way.target == name]:
                    flow.give_up(error)
            except Transient as error:
                if self._voice.says(str(error)):
                    _log.warning("a topic that is gone at the target is not made again yet", topic=name, why=str(error))

    def _doubt(self, flow: Flow, reached: int, end: int | None) -> None:
        what = "there is no such topic any more" if end is None else f"its log ends at {end}"
        _log.warning("the target was set back", way=str(flow.engine.way), acknowledged=reached, found=what)
        flow.doubt(f"{what}, what was acknowledged ends at {reached}")


async def missing(target: Cluster, positions: str, flows: Sequence[Flow]) -> DataMissing | None:
    """What a link that stops must not pass over: topics of these partitions, or the positions, gone at the target."""
    pairs = {(way.target, way.partition): way for way in (flow.engine.way for flow in flows)}
    try:
        async with asyncio.timeout(_LAST_WORD_S):
            found = await ends(target, [(positions, 0), *pairs])
    except (TimeoutError, HeadwaterError):  # nobody answers, which is no loss
        return None
    gone = sorted({topic for (topic, _), end in found.items() if end is None})
    if not gone:
        return None
    hint = "start it again: it makes a topic anew and ships again what the source still has"
    if positions in gone:
        hint = f"restore {positions} from a copy, or ship to a new site name: without it nobody knows what was shipped"
    return DataMissing(f"deleted at the target while the link ran: {', '.join(gone)}", hint=hint)
