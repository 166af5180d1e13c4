"""What the road to the target carries: bytes a second, and the round trip without a queue.

From what the target acknowledges, not from TCP, which where a satellite or a VPN ends it knows only its first part.
As in BBR (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 14-5, 2016) the bandwidth is the
largest rate of delivery of late, the round trip the shortest. Batches are large beside what a slow road holds, so a
rate is that of several acknowledgements in a row.
"""

from __future__ import annotations

from collections import deque

_RATE_WINDOW_S = 10.0
_TRIP_WINDOW_S = 60.0
_BATCHES = 4
_LEAST_S = 1.0
_INTERVALS = 8
_FEW_TRIPS = 3
_TOGETHER_S = 0.005  # acknowledgements so close to each other are kept as one
_LONG_S = 1.0  # what is overdue by so much stands


class Estimate:
    """Times are in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.largest = 0
        self.queue_s = 0.0  # by which the last round trip was longer than the shortest
        self.standing_s = 0.0  # by which all of the last few were: what keeps standing is a queue, the rest is noise
        self.repeated_s = 0.0  # by which both of the last two were
        self.delivered = 0  # bytes
        self.latest: float | None = None  # rate of the last acknowledgements, the road being busy
        self._acks: deque[tuple[float, int]] = deque()  # since more was under way without a pause
        self._rates: deque[tuple[float, float]] = deque()  # falling
        self._trips: deque[tuple[float, float]] = deque()  # rising
        self._newest: deque[float] = deque(maxlen=_FEW_TRIPS)

    @property
    def rate(self) -> float | None:
        """Bytes a second that the road carries, as far as is known."""
        return self._rates[0][1] if self._rates else None

    @property
    def trip_s(self) -> float | None:
        """Round trip without a queue."""
        return self._trips[0][1] if self._trips else None

    def sent(self, size: int) -> None:
        """Take note of bytes that leave."""
        if not self.in_flight:
            self._acks.clear()
        self.in_flight += size
        self.largest = max(size, int(self.largest * 0.98))

    def acked(self, size: int, now: float) -> None:
        """Take note of the acknowledgement of so many."""
        self.in_flight -= size
        self.delivered += size
        acks = self._acks
        if len(acks) > 1 and now - acks[-2][0] < _TOGETHER_S:
            acks.pop()
        acks.append((now, self.delivered))
        least = _BATCHES * self.largest
        while len(acks) > 1 and acks[1][0] < now - _LEAST_S and self.delivered - acks[1][1] >= least:
            acks.popleft()
        took, count = now - acks[0][0], self.delivered - acks[0][1]
        if took < _LEAST_S or count < least:
            return
        rates, rate = self._rates, count / took
        window_s = max(_RATE_WINDOW_S, _INTERVALS * took / _BATCHES)
        while rates and rates[0][0] < now - window_s:
            rates.popleft()
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((now, rate))
        self.latest = rate

    def lost(self, size: int) -> None:
        """So many were not acknowledged and will not be."""
        self.in_flight -= size
        self._acks.clear()

    def trip(self, seconds: float, now: float) -> None:
        """Take note of the round trip of something small."""
        while self._trips and self._trips[0][0] < now - _TRIP_WINDOW_S:
            self._trips.popleft()
        while self._trips and self._trips[-1][1] >= seconds:
            self._trips.pop()
        self._trips.append((now, seconds))
        self._newest.append(seconds)
        self.queue_s = seconds - self._trips[0][1]
        self.standing_s = min(self._newest) - self._trips[0][1]
        self.repeated_s = min(list(self._newest)[-2:]) - self._trips[0][1]

    def overdue(self, seconds: float) -> None:
        """Take note of a round trip that is not over after so long."""
        if self.trip_s is not None and seconds > self.trip_s + self.queue_s:
            self.queue_s = seconds - self.trip_s
            if self.queue_s > _LONG_S:
                self.standing_s = self.repeated_s = self.queue_s

    def accept(self, now: float) -> None:
        """The round trip without a queue is what the last few were."""
        self._trips.clear()
        self.trip(min(self._newest), now)
