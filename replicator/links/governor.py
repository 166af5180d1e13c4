"""When what may leave for the target.

A queue in front of a slow link delays everybody, so none is made: batches leave at the rate that the link has proven
to carry (estimate.py), those of a lane in their order, lanes by their weights. The first lane does not wait for a turn;
its batches are on a connection of their own, and what they take the others get less.

On a road with a short round trip and no rate of its own to keep nothing is paced: whatever comes leaves.

Where the link has a budget, nobody sends what is not written as spent (books.py): a batch waits for `credit`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from replicator.links.estimate import Estimate
from replicator.links.sizing import Sizing
from replicator.links.speed import Speed

SHORT_S = 0.005
_LOCAL_QUEUE_S = 0.1  # on a short road; less is a busy machine
_SLACK_S = 0.005  # by which a batch may leave early: timers are not exact
_CYCLE = 10.0  # probes last a tenth of the time
_BURST_S = 0.2
FIRST_SHARE = 0.9
_KEPT_FULL = 1 << 20
_MOST_WINDOW = 16 << 20


class Governor:
    """Of one link. `weights` of its lanes, the first to the last."""

    def __init__(self, weights: Sequence[float], *, most_rate: float | None = None) -> None:
        self.estimate = Estimate()
        self.speed = Speed()
        self.sizing = Sizing()
        self.most_rate = most_rate
        self.paced = most_rate is not None  # whether batches wait for their turn
        self.shut: frozenset[int] = frozenset()  # lanes that may not send now
        self.credit: int | None = None  # bytes that may leave before more is written as spent; None: no budget
        self.wanted = 0  # bytes of the largest batch that waits for it
        self.short = asyncio.Event()  # one waits
        self.sent_bytes = [0] * len(weights)
        self.window = _KEPT_FULL  # bytes that one partition may have under way
        self._weights = list(weights)
        self._tags = [0.0] * len(weights)
        self._virtual = 0.0
        self._waiting: list[deque[tuple[int, asyncio.Future[bool]]]] = [deque() for _ in weights]
        self._free = 0.0
        self._first_free = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._handing = False

    # what is asked

    @property
    def rate(self) -> float | None:
        """Bytes a second at which batches leave now; None: as they come."""
        if not self.paced:
            return None
        rate = self.speed.now
        if rate is None:
            return self.most_rate
        return rate if self.most_rate is None else min(rate, float(self.most_rate))

    @property
    def _product(self) -> int:
        return int((self.speed.known or 0.0) * (self.estimate.trip_s or 0.0))

    def takes(self, lane: int, size: int) -> bool:
        """Whether a batch may be sent now."""
        if lane in self.shut or not self._has_credit(size):
            return False
        if not self.paced:
            return True
        now = time.monotonic()
        return not any(self._waiting) and self._is_free(lane, size, now)

    def _has_credit(self, size: int) -> bool:
        if self.credit is None or size <= self.credit:
            return True
        self.wanted = max(self.wanted, size)
        self.short.set()
        return False

    def _is_free(self, lane: int, size: int, now: float) -> bool:
        if lane == 0 and len(self._weights) > 1:
            return self._first_free <= now
        if self._free > now + _SLACK_S:
            return False
        estimate = self.estimate
        most = 2 * self._product + 3 * max(estimate.largest, size)
        if estimate.rate is None:
            most = size + estimate.delivered  # twice as much each round trip
        return not estimate.in_flight or estimate.in_flight + size <= most

    def turn(self, lane: int, size: int) -> asyncio.Future[bool]:
        """Wait for the turn of a batch, which then counts as sent; whoever waits no longer sets the result to False."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[lane].append((size, future))
        self._serve()
        return future

    # what is told

    def sent(self, lane: int, size: int, *, charged: bool) -> None:
        """Take note of a batch that leaves; `charged`: `turn` was waited for."""
        if not charged:
            if self.credit is not None:
                self.credit -= size
            if self.paced:
                self._charge(lane, size, time.monotonic())
        self.sent_bytes[lane] += size
        self.estimate.sent(size)

    def acked(self, size: int) -> None:
        """Take note of its acknowledgement."""
        self.estimate.acked(size, time.monotonic())
        if any(self._waiting):
            self._serve()

    def lost(self, size: int) -> None:
        """Take note that there will be none."""
        self.estimate.lost(size)
        if not self.estimate.in_flight:  # nothing stands before the link any more
            self._free = self._first_free = 0.0
        if any(self._waiting):
            self._serve()

    def changed(self) -> None:
        """What may be sent, or how fast, is something else now."""
        self._serve()

    def tripped(self, seconds: float) -> None:
        """Take note of the round trip of something small, and how fast to go on."""
        now = time.monotonic()
        self.estimate.trip(seconds, now)
        self._decide()
        self.speed.look(self.estimate, now, wanting=any(self._waiting))
        self._size()
        self._serve()

    def tripping(self, seconds: float) -> None:
        """Take note of a round trip that is not over after so long."""
        estimate, before_s = self.estimate, self.estimate.queue_s
        estimate.overdue(seconds)
        if estimate.queue_s > before_s:
            self._decide()
            self.speed.look(estimate, time.monotonic(), wanting=True)
            self._size()

    def _size(self) -> None:
        self.window = max(_KEPT_FULL, min(_MOST_WINDOW, 2 * self._product))
        known, most, estimate = self.speed.known, self.most_rate, self.estimate
        rate = most if known is None else known if most is None else min(known, float(most))
        self.sizing.follow(rate if self.paced else None, estimate.delivered if estimate.rate is None else None)

    def _decide(self) -> None:
        trip_s, queue_s = self.estimate.trip_s, self.estimate.standing_s
        is_long = trip_s is not None and (trip_s > SHORT_S or queue_s > _LOCAL_QUEUE_S)
        self.paced = self.most_rate is not None or is_long

    def _pay(self, size: int) -> None:
        if self.credit is not None:
            self.credit -= size

    def _charge(self, lane: int, size: int, now: float) -> None:
        rate = self.rate
        if rate is None:
            return
        self._free = max(self._free, now) + size / rate
        if lane == 0:
            self._first_free = max(self._first_free, now - _BURST_S) + size / (rate * FIRST_SHARE)
        start = max(self._tags[lane], self._virtual)
        self._virtual = start
        self._tags[lane] = start + size / self._weights[lane]

    def _go_on(self) -> None:
        self._handing = False
        self._serve()

    def _serve(self) -> None:
        if self._handing:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.sizing.is_guess:
            self._size()
        now, loop = time.monotonic(), asyncio.get_running_loop()
        while (lane := self._next(now)) is not None:
            size, future = self._waiting[lane].popleft()
            if not future.done():
                self._pay(size)
                self._charge(lane, size, now)
                future.set_result(True)
                if self.paced:  # whoever goes now may want to go again, and then others are not first
                    self._handing = True
                    loop.call_soon(self._go_on)
                    return
        if any(self._waiting) and self._free > now:
            until = min(self._free, max(self._first_free, now)) if self._waiting[0] else self._free
            self._timer = loop.call_later(max(until - now, 0.001), self._serve)

    def _next(self, now: float) -> int | None:
        """The lane whose turn it is; None where it is nobody's."""
        paced = self.paced
        able = [
            lane
            for lane, waiting in enumerate(self._waiting)
            if waiting
            and lane not in self.shut
            and (not paced or self._is_free(lane, waiting[0][0], now))
            and self._has_credit(waiting[0][0])
        ]
        return min(able, key=lambda lane: max(self._tags[lane], self._virtual), default=None)


class Gate:
    """A partition's place in its lane."""

    def __init__(self, governor: Governor, lane: int) -> None:
        self._governor = governor
        self._lane = lane
        self._charged = 0
        self._turn: asyncio.Future[bool] | None = None
        self._sent: deque[int] = deque()

    @property
    def window(self) -> int:
        """Bytes that the partition may have under way."""
        return self._governor.window

    def takes(self, size: int) -> bool:
        """Whether a batch may be posted now."""
        governor = self._governor
        if not governor.paced and governor.credit is None and not governor.shut:
            return True
        return self._charged >= size or governor.takes(self._lane, size)

    async def turn(self, size: int) -> None:
        """Wait until one may, or until `leave`."""
        if not self.takes(size):
            self._turn = self._governor.turn(self._lane, size)
            if await self._turn:
                self._charged = size

    def leave(self) -> None:
        """Wait no longer: what failed is to be looked at first, and others need not wait for the turn of nothing."""
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(False)

    def posted(self, size: int) -> None:
        """One was."""
        self._sent.append(size)
        self._governor.sent(self._lane, size, charged=self._charged > 0)
        self._charged = 0

    def answered(self, *, well: bool) -> None:
        """The oldest was answered, or never will be."""
        size = self._sent.popleft()
        if well:
            self._governor.acked(size)
        else:
            self._governor.lost(size)
