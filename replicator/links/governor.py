"""When what may leave for the target.

A queue in front of a slow link delays everybody, so none is made: batches leave at the rate that the link has proven
to carry (estimate.py), those of a lane in their order, lanes by their weights. The first lane does not wait for a turn;
its batches are on a connection of their own, and what they take the others get less.

On a road with a short round trip and no rate of its own to keep nothing is paced: whatever comes leaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from replicator.links.estimate import Estimate, Sent

SHORT_S = 0.005
_FIRST_BYTES = 28 << 10  # a round trip at the start: two initial windows of TCP (RFC 6928)
_STARTUP = 2.0
_GROWTH = 1.25
_ROUNDS = 3  # without growth: the road is full
_PROBE, _DRAIN, _DRAIN_HARD = 1.25, 0.8, 0.5
_QUEUE_S, _LONG_QUEUE_S = 0.06, 0.3
_CALM_S = 0.03
_LOCAL_QUEUE_S = 0.1  # on a short road; less is a busy machine
_SLACK_S = 0.005  # by which a batch may leave early: timers are not exact
_CYCLE = 10.0  # probes last a tenth of the time
_BURST_S = 0.5
_FIRST_SHARE = 0.9
_KEPT_FULL = 1 << 20
_MOST_WINDOW = 16 << 20


class Governor:
    """Of one link. `weights` of its lanes, the first to the last."""

    def __init__(self, weights: Sequence[float], *, most_rate: float | None = None) -> None:
        self.estimate = Estimate()
        self.most_rate = most_rate
        self.shut: frozenset[int] = frozenset()  # lanes that may not send now
        self.sent_bytes = [0] * len(weights)
        self._weights = list(weights)
        self._tags = [0.0] * len(weights)
        self._virtual = 0.0
        self._waiting: list[deque[tuple[int, asyncio.Future[None]]]] = [deque() for _ in weights]
        self._free = 0.0
        self._first_free = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._gain = 1.0
        self._starting = True
        self._plateau = (0.0, 0)
        self._phase_until = 0.0
        self._probing = False

    # what is asked

    @property
    def paced(self) -> bool:
        """Whether batches wait for their turn."""
        trip_s = self.estimate.trip_s
        return self.most_rate is not None or (
            trip_s is not None and (trip_s > SHORT_S or self.estimate.queue_s > _LOCAL_QUEUE_S)
        )

    @property
    def rate(self) -> float | None:
        """Bytes a second at which batches leave now; None: as they come."""
        if not self.paced:
            return None
        known, trip_s = self.estimate.rate, self.estimate.trip_s or SHORT_S
        rate = _FIRST_BYTES / trip_s if known is None else max(known * self._gain, 1000.0)
        return rate if self.most_rate is None else min(rate, float(self.most_rate))

    @property
    def window(self) -> int:
        """Bytes that one partition may have under way."""
        return max(_KEPT_FULL, min(_MOST_WINDOW, 2 * self._product))

    @property
    def _product(self) -> int:
        return int((self.estimate.rate or 0.0) * (self.estimate.trip_s or 0.0))

    def takes(self, lane: int, size: int) -> bool:
        """Whether a batch may be sent now."""
        if lane in self.shut:
            return False
        if not self.paced:
            return True
        now = time.monotonic()
        return not any(self._waiting) and self._is_free(lane, size, now)

    def _is_free(self, lane: int, size: int, now: float) -> bool:
        if lane == 0 and len(self._weights) > 1:
            return self._first_free <= now
        if self._free > now + _SLACK_S:
            return False
        estimate = self.estimate
        most = 2 * self._product + 3 * max(estimate.largest, size)
        return not estimate.in_flight or estimate.rate is None or estimate.in_flight + size <= most

    async def turn(self, lane: int, size: int) -> None:
        """Wait for the turn of a batch, which then counts as sent."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[lane].append((size, future))
        self._serve()
        await future

    # what is told

    def sent(self, lane: int, size: int, *, charged: bool) -> Sent:
        """Take note of a batch that leaves; `charged`: `turn` was waited for."""
        now = time.monotonic()
        if not charged:
            self._charge(lane, size, now)
        self.sent_bytes[lane] += size
        return self.estimate.sent(size, now, eager=charged)

    def acked(self, sent: Sent) -> None:
        """Take note of its acknowledgement."""
        now = time.monotonic()
        self.estimate.acked(sent, now)
        if self._starting:
            self._look_for_plateau()
        if any(self._waiting):
            self._serve()

    def lost(self, sent: Sent) -> None:
        """Take note that there will be none."""
        self.estimate.lost(sent)
        if any(self._waiting):
            self._serve()

    def changed(self) -> None:
        """What may be sent, or how fast, is something else now."""
        self._serve()

    def tripped(self, seconds: float) -> None:
        """Take note of the round trip of something small, and how fast to go on."""
        now = time.monotonic()
        estimate = self.estimate
        estimate.trip(seconds, now)
        queue_s = estimate.queue_s
        if queue_s > _QUEUE_S and estimate.in_flight and estimate.rate is not None:
            self._starting = self._probing = False
            self._gain = _DRAIN_HARD if queue_s > _LONG_QUEUE_S else _DRAIN
            self._phase_until = now
        elif self._starting:
            self._gain = _STARTUP
        elif queue_s < _CALM_S or self._gain >= 1.0:
            self._cycle(now)
        self._serve()

    def _cycle(self, now: float) -> None:
        """From time to time try whether the road carries more."""
        if self._gain < 1.0:
            self._gain, self._probing = 1.0, False
        if now < self._phase_until:
            return
        rate, trip_s = self.estimate.rate or 1.0, self.estimate.trip_s or SHORT_S
        step_s = max(trip_s, self.estimate.largest / rate)
        self._probing = not self._probing
        self._gain = _PROBE if self._probing else 1.0
        self._phase_until = now + (step_s if self._probing else _CYCLE * step_s)

    def _look_for_plateau(self) -> None:
        rate = self.estimate.rate or 0.0
        best, rounds = self._plateau
        if rate > best * _GROWTH:
            self._plateau = (rate, 0)
        elif rounds + 1 >= _ROUNDS:
            self._starting, self._gain = False, 1.0
        else:
            self._plateau = (best, rounds + 1)

    def _charge(self, lane: int, size: int, now: float) -> None:
        rate = self.rate
        if rate is None:
            return
        self._free = max(self._free, now) + size / rate
        if lane == 0:
            self._first_free = max(self._first_free, now - _BURST_S) + size / (rate * _FIRST_SHARE)
        start = max(self._tags[lane], self._virtual)
        self._virtual = start
        self._tags[lane] = start + size / self._weights[lane]

    def _serve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        while (lane := self._next(now)) is not None:
            size, future = self._waiting[lane].popleft()
            if not future.done():
                self._charge(lane, size, now)
                future.set_result(None)
        if any(self._waiting) and self._free > now:
            until = min(self._free, max(self._first_free, now)) if self._waiting[0] else self._free
            self._timer = asyncio.get_running_loop().call_later(max(until - now, 0.001), self._serve)

    def _next(self, now: float) -> int | None:
        """The lane whose turn it is; None where it is nobody's."""
        paced = self.paced
        able = [
            lane
            for lane, waiting in enumerate(self._waiting)
            if waiting and lane not in self.shut and (not paced or self._is_free(lane, waiting[0][0], now))
        ]
        return min(able, key=lambda lane: max(self._tags[lane], self._virtual), default=None)


class Gate:
    """A partition's place in its lane."""

    def __init__(self, governor: Governor, lane: int) -> None:
        self._governor = governor
        self._lane = lane
        self._charged = 0
        self._sent: deque[Sent] = deque()

    @property
    def window(self) -> int:
        """Bytes that the partition may have under way."""
        return self._governor.window

    def takes(self, size: int) -> bool:
        """Whether a batch may be posted now."""
        return self._charged >= size or self._governor.takes(self._lane, size)

    async def turn(self, size: int) -> None:
        """Wait until one may."""
        if not self.takes(size):
            await self._governor.turn(self._lane, size)
            self._charged = size

    def posted(self, size: int) -> None:
        """One was."""
        self._sent.append(self._governor.sent(self._lane, size, charged=self._charged > 0))
        self._charged = 0

    def answered(self, *, well: bool) -> None:
        """The oldest was answered, or never will be."""
        sent = self._sent.popleft()
        if well:
            self._governor.acked(sent)
        else:
            self._governor.lost(sent)
