"""The backlog of one partition: when something is set aside, where it begins, and that it is shipped once.

The order of what is stored makes each step safe against a kill:

1. A leap stores, in one write, the live stream's new era and the range that it leaves out, with the position of the era
   before. Whatever a dead life still has under way of that era may land until the first batch of the new one is there.
2. With that batch at the target, its offset tells how many records of the former era came before it, so where the range
   begins; that is stored, and the live stream may leap again.
3. A range is begun by one write of the backlog's position, in an era of its own, and ended by one with the next state.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog
from msgspec import structs

from headwater.contract.errors import Defect, Fenced, Permanent, Refused
from headwater.transport.kafka_batch import SetBack
from headwater.transport.retry import retrying
from replicator.anchor import Lost
from replicator.engine import Ends
from replicator.flow import Flow
from replicator.fresh.aside import DEFERRED, Aside, Range, aside_key
from replicator.fresh.engines import BacklogEngine, FreshEngine, Store
from replicator.fresh.flow import BacklogFlow
from replicator.fresh.landed import landed_to
from replicator.fresh.looking import waiting
from replicator.fresh.notices import of_range
from replicator.fresh.settings import FreshSettings
from replicator.position import FIRST_ERA, LAST_ERA, Gap, Position, decode
from replicator.way import Way

_log = structlog.get_logger(__name__)
_WORTH_S = 2.0  # what is shipped in less is shipped in order
_UNPACED_BYTES_S = 20e6  # where nothing is measured, since nothing is slow
_MOST_RANGES = 1000
# An era is a producer epoch, of which there are 32,767: a link that is overloaded for months leaps ever more seldom.
_ERAS_UNTIL_DOUBLED = 2000
_LAST_LEAP = LAST_ERA - 2000


class Lateness:
    """How long ago everything was at the target that the source had then. In seconds of one monotonic clock."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._seen: deque[tuple[float, int]] = deque(maxlen=1000)  # when, and the end of what was decided then

    def look(self, now: float, decided: int, reached: int) -> float:
        """Take a sample; the age of the oldest offset that waits, as far as was seen."""
        if decided > reached and (not self._seen or now - self._seen[-1][0] >= self._step_s):
            self._seen.append((now, decided))
        while self._seen and self._seen[0][1] <= reached:
            self._seen.popleft()
        return now - self._seen[0][0] if self._seen else 0.0


class Backlog:
    """`settings` is None where nothing more is to be set aside; `make_target` makes the target of `way`."""

    def __init__(
        self,
        live: Way,
        way: Way,
        ends: Ends,
        settings: FreshSettings | None,
        make_target: Callable[[], Awaitable[None]],
    ) -> None:
        self.way = way
        self._live = live
        self._ends = ends
        self._settings = settings
        self._make_target = make_target
        self._key = aside_key(live.topic, live.partition)
        stored = ends.journal.kept(self._key)
        self.aside = Aside() if stored is None else decode(stored, Aside, f"what was set aside of {live}")
        self.fresh = FreshEngine(live, ends, self)
        self.engine = BacklogEngine(way, ends, lambda: self.until)
        self._one = asyncio.Lock()
        self._changed = asyncio.Event()
        self._lateness = Lateness((settings.after_s if settings else 60.0) / 10)
        self._late_s = 0.0
        self._asked: float | None = None  # when the live stream was made to look, while it is late
        self._in_vain = False  # it has looked before, and what was to be shipped soon was not

    @property
    def until(self) -> int:
        """End of the range that is shipped, 0 where none is."""
        return self.aside.ranges[0].end if self.aside.shipping else 0

    @property
    def position(self) -> Position | None:
        """Of what was shipped of it."""
        return self.engine.position or self._ends.journal.position(self.way.ledger, self.way.partition)

    @property
    def waits(self) -> int:
        """Source offsets that wait."""
        position = self.position
        at = position.source_next if position is not None and self.aside.shipping else 0
        return sum(each.end - max(each.first, min(at, each.end)) for each in self.aside.ranges)

    # the live stream

    def look(self, flow: Flow) -> None:
        """Have the live stream anchor where it is behind for long, so that it is asked what is `due`."""
        position = self.fresh.position
        if self._settings is None or position is None or flow.halted is not None or flow.paused:
            return
        now, after_s = time.monotonic(), self._settings.after_s
        self._late_s = self._lateness.look(now, flow.decided, position.source_next)
        if self._late_s <= after_s:
            self._asked = None
            return
        rested = self._asked is None or now - self._asked >= after_s
        if rested and flow.next_offset is not None and self._may_leap(position):
            self._in_vain, self._asked = self._asked is not None, now
            self.fresh.look_again(f"{self._late_s:.0f} s behind; looking whether what is new goes first")

    def _may_leap(self, position: Position) -> bool:
        if self._settings is None or self.aside.unsettled is not None or position.era >= _LAST_LEAP:
            return False
        pause_s = self._settings.after_s * 2 ** (position.era // _ERAS_UNTIL_DOUBLED)
        rested = abs(self._ends.clock() - self.aside.at) >= pause_s * 1000  # a clock may be set back
        return rested and len(self.aside.ranges) < _MOST_RANGES

    async def due(self, position: Position) -> Lost | None:
        """What is to be set aside of a live stream that stands at `position`: see `FreshEngine`."""
        if self._settings is None or not self._may_leap(position):
            return None
        found = await waiting(self._ends.probe, self._live, position.source_next)
        if found is None:
            return None
        age_s = max((self._ends.clock() - found.oldest_ms) / 1000, self._late_s)
        lasts_s = found.bytes / (self._ends.lines.governor.rate or _UNPACED_BYTES_S)
        soon = lasts_s < _WORTH_S and not (self._asked is not None and self._in_vain)
        if age_s < self._settings.after_s or soon:
            return None
        return Lost(DEFERRED, position.source_next, found.newest, found.newest)

    async def set_aside(self, new: Range, store: Store) -> Position:
        """Store one more range with the live stream's new era."""
        async with self._one:
            self._asked = None
            aside = self.aside.with_range(new)
            begun = await store({self._key: aside})
            self.aside = aside
        _log.info(
            "a backlog is set aside", way=str(self._live), first_offset=new.first, end=new.end, ships_to=self.way.target
        )
        return begun

    async def cut(self, end: int, cause: str, store: Store) -> Position:
        """The source has another log from `end` on, which the live stream ships: nothing of the former one is left."""
        async with self._one:
            shipped = self.engine.position.source_next if self.aside.shipping and self.engine.position else 0
            for each in self.aside.ranges:
                first = max(each.first, end, shipped)
                if first < each.end:
                    gap = Gap(self.way.ledger, self.way.partition, cause, first, each.end, end, each.era, each.at)
                    await self._ends.account.gap(self.way, gap, halted=False)
            aside = self.aside.cut(end)
            begun = await store({self._key: aside})
            self.aside = aside
        self._changed.set()
        return begun

    # where a range begins

    async def settle(self) -> None:
        """Find out where the newest range begins, once the live stream's new era has; Transient where that waits."""
        newest, position = self.aside.unsettled, self.fresh.position
        if newest is None or position is None or position.era < newest.era or not position.count:
            return
        first = newest.first
        if newest.before is not None:
            first = await landed_to(self._ends, self._live, newest.before, position.target_first, newest.end)
        async with self._one:
            if self.aside.unsettled != newest:
                return
            aside = self.aside.settled(first)
            gap = Gap(
                self._live.topic, self._live.partition, DEFERRED, first, newest.end, newest.end, newest.era, newest.at
            )
            if aside.unsettled is None and len(aside.ranges) == len(self.aside.ranges):
                await self._ends.journal.say(
                    [of_range(self._live, self.way, aside.ranges[-1], filled=False, at=newest.at)]
                )
            await self._ends.journal.store([], [gap], {self._key: aside})
            self.aside = aside
        self._changed.set()

    # the backlog stream

    async def run(self, flow: BacklogFlow, begun: Callable[[], None]) -> None:
        """Ship range by range until the flow is told to finish or halts; `begun` is called at the first one."""
        flow.changed = self._changed.set
        told, ended = False, self.position
        if ended is not None and not self.aside.shipping:  # exact, and perhaps not proven to its end
            self.engine.begin(ended)
        try:
            while not flow.closing:
                if self.aside.next is None:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                await retrying(f"creating topic {self.way.target}", self._make_target)
                await retrying(f"beginning the backlog of {self._live}", self._begin)
                if not told:
                    begun()
                    told = True
                await flow.run()
                if flow.halted is not None:
                    return
                await retrying(f"ending the backlog of {self._live}", lambda: self._end(flow))
        except (Fenced, Defect, SetBack):
            raise
        except Permanent as error:
            flow.stand_still(error)

    async def _begin(self) -> None:
        """Have the engine stand in the first range."""
        async with self._one:
            found, position = self.aside.next, self.position
            if found is None:
                return
            if self.aside.shipping:
                if position is None:
                    raise Defect(f"{self.way}: a range was begun, and no position stored")
                self.engine.begin(position)
                return
            begun, gaps = await self._first_position(found, position)
            aside = structs.replace(self.aside, shipping=True)
            self.engine.begin(begun)  # so that the position of the range before is not stored behind this one
            await self._ends.journal.store([(self.way, begun)], gaps, {self._key: aside})
            self.aside = aside

    async def _first_position(self, found: Range, former: Position | None) -> tuple[Position, list[Gap]]:
        way, now = self.way, self._ends.clock()
        end = (await self._ends.target.offsets(way.target, "latest"))[way.partition]
        if former is None:
            if end:
                raise Refused(
                    f"{way} has records up to offset {end - 1}, but no position is stored for it",
                    hint=f"a backlog of {self._live.topic} goes there; delete the topic, or ship to a new site name",
                )
            return Position(FIRST_ERA, found.first, found.first, 0, 0, at=now, source_id=found.source_id), []
        era = former.era + 1
        if era > LAST_ERA:
            raise Refused(f"{way} has had {era} ranges, more than a producer has epochs", hint="use a new site name")
        gap = Gap(way.ledger, way.partition, DEFERRED, former.source_next, found.first, found.first, era, now)
        return Position(era, found.first, found.first, 0, end, at=now, source_id=found.source_id), [gap]

    async def _end(self, flow: BacklogFlow) -> None:
        """Note that the first range is at the target, if it is."""
        async with self._one:
            position = self.engine.checkpoint()
            if position is None or not self.aside.shipping:
                return
            found = self.aside.ranges[0]
            if position.source_next < found.end and not flow.exhausted:
                return
            now = self._ends.clock()
            await self._ends.journal.say([of_range(self._live, self.way, found, filled=True, at=now)])
            aside = structs.replace(self.aside, ranges=self.aside.ranges[1:], shipping=False)
            await self._ends.journal.store([(self.way, position)], [], {self._key: aside})
            self.aside = aside
        _log.info("the backlog is shipped", way=str(self.way), first_offset=found.first, end=found.end)
