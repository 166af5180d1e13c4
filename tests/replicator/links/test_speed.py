"""The speed follows what a link carries, without making a queue."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from replicator.links.estimate import Estimate
from replicator.links.speed import Speed

_BATCH = 64_000


@dataclass
class _Road:
    """A bottleneck in simulated time, which batches reach as fast as they are sent."""

    rate: float
    trip_s: float
    late_s: Callable[[], float] = lambda: 0.0  # by which the target answers later than it could
    now: float = 100.0
    estimate: Estimate = field(default_factory=Estimate)
    speed: Speed = field(default_factory=Speed)
    acked: int = 0
    _late_s: float = 0.0
    _queue: float = 0.0
    _left: float = 0.0  # of the batch that is being sent
    _served: float = 0.0
    _sent: float = 0.0
    _ends: deque[tuple[float, int]] = field(default_factory=deque)  # bytes served when a batch has passed
    _due: deque[tuple[float, int]] = field(default_factory=deque)

    def run(self, seconds: float) -> list[float]:
        """Send whatever the speed allows; the queue in seconds, as every half of one saw it."""
        queues, until, probe = [], self.now + seconds, self.now
        while self.now < until:
            if self.now >= probe:
                queues.append(self._queue / self.rate)
                self._late_s = self.late_s()
                self.estimate.trip(self.trip_s + queues[-1] + self._late_s, self.now)
                self.speed.look(self.estimate, self.now, wanting=True)
                probe = self.now + 0.5
            self._move(0.005)
            self.now += 0.005
        return queues

    def _move(self, step_s: float) -> None:
        while self._due and self._due[0][0] + self._late_s <= self.now:
            _, size = self._due.popleft()
            self.estimate.acked(size, self.now)
            self.acked += size
        most = 3 * _BATCH + 2 * (self.speed.known or 0.0) * (self.estimate.trip_s or 0.0)
        step = (self.speed.now or 0.0) * step_s
        while step and (self._left or self.estimate.in_flight < most):
            if not self._left:
                self._left = _BATCH
                self._sent += _BATCH
                self._ends.append((self._sent, _BATCH))
                self.estimate.sent(_BATCH)
            part = min(step, self._left)
            self._left, step, self._queue = self._left - part, step - part, self._queue + part
        served = min(self._queue, self.rate * step_s)
        self._queue, self._served = self._queue - served, self._served + served
        while self._ends and self._ends[0][0] <= self._served + 1:
            self._due.append((self.now + self.trip_s, self._ends.popleft()[1]))


def test_a_slow_link_is_used_without_a_long_queue() -> None:
    """256 kbit/s: after half a minute at least 80 % of it, and a queue below a second."""
    road = _Road(32_000, 0.3)
    road.run(40)
    before = road.acked
    queues = road.run(120)
    assert (road.acked - before) / 120 > 0.8 * 32_000
    assert sorted(queues)[int(len(queues) * 0.95)] < 1.0


def test_a_fast_long_link_is_full_within_seconds() -> None:
    """10 Mbit/s at 300 ms: 90 % of it from the tenth second on."""
    road = _Road(1_250_000, 0.3)
    road.run(10)
    before = road.acked
    road.run(30)
    assert (road.acked - before) / 30 > 0.9 * 1_250_000


def test_a_link_that_changes_is_followed() -> None:
    """It gets ten times as fast, and ten times as slow again: within a minute it is used, or the queue is gone."""
    road = _Road(32_000, 0.3)
    road.run(60)
    road.rate = 320_000
    road.run(60)
    before = road.acked
    road.run(30)
    assert (road.acked - before) / 30 > 0.75 * 320_000
    road.rate = 32_000
    road.run(60)
    assert sorted(road.run(60))[90] < 1.0


def test_a_target_that_answers_late_is_no_slow_link() -> None:
    """Each answer takes 0.4 s longer for minutes: 80 % of the link are used within half a minute, and after it."""
    for rate, trip_s in ((32_000, 0.3), (1_250_000, 0.3), (1_250_000, 0.02), (12_500_000, 0.02)):
        road = _Road(rate, trip_s)
        road.run(40)
        road.late_s = lambda: 0.4
        road.run(30)
        before = road.acked
        road.run(60)
        assert (road.acked - before) / 60 > 0.8 * rate, (rate, trip_s)
        road.late_s = lambda: 0.0
        road.run(30)
        before = road.acked
        queues = road.run(60)
        assert (road.acked - before) / 60 > 0.8 * rate, (rate, trip_s)
        assert sorted(queues)[int(len(queues) * 0.95)] < 1.0


def test_a_busy_machine_is_no_slow_link() -> None:
    """Most answers are late by up to 0.4 s, each by another time: at least two thirds of the link are used."""
    for rate, trip_s in ((32_000, 0.3), (1_250_000, 0.3), (1_250_000, 0.02)):
        dice = random.Random(1)
        road = _Road(rate, trip_s)
        road.run(40)
        road.late_s = lambda dice=dice: dice.uniform(0.0, 0.4) if dice.random() < 0.7 else 0.0
        road.run(60)
        before = road.acked
        road.run(120)
        assert (road.acked - before) / 120 > 0.67 * rate, (rate, trip_s)


def test_late_answers_at_the_start_do_not_hold_a_link_back_for_long() -> None:
    """One probe in seven is late by 0.8 s from the first one on: after ten seconds half of any link is used."""
    for rate, trip_s in ((1_250_000, 0.6), (12_500_000, 0.6), (32_000, 0.3)):
        for seed in (1, 2, 4):
            dice = random.Random(seed)
            road = _Road(rate, trip_s, lambda dice=dice: 0.8 if dice.random() < 1 / 7 else 0.0)
            road.run(10)
            before = road.acked
            road.run(40)
            assert (road.acked - before) / 40 > 0.5 * rate, (rate, trip_s, seed)
