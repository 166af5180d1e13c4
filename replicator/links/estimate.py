"""What the road to the target carries: bytes a second, and the round trip without a queue.

From what the target acknowledges, not from TCP, which where a satellite or a VPN ends it knows only its first part.
The method is BBR's (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 14-5, 2016): the bandwidth
is the largest rate of delivery of late, the round trip the shortest.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_RATE_WINDOW_S = 10.0
_TRIP_WINDOW_S = 30.0
_ACKS = 8


class Sent(NamedTuple):
    """What was known when some bytes left."""

    size: int
    at: float
    delivered: int
    delivered_at: float
    eager: bool


class Estimate:
    """Times are in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.delivered = 0
        self.in_flight = 0
        self.largest = 0
        self._delivered_at = 0.0
        self._rates: deque[tuple[float, float]] = deque()  # falling
        self._trips: deque[tuple[float, float]] = deque()  # rising
        self._interval_s = 0.0
        self.queue_s = 0.0  # by which the last round trip was longer than the shortest

    @property
    def rate(self) -> float | None:
        """Bytes a second that the road carries, as far as is known."""
        return self._rates[0][1] if self._rates else None

    @property
    def trip_s(self) -> float | None:
        """Round trip without a queue."""
        return self._trips[0][1] if self._trips else None

    def sent(self, size: int, now: float, *, eager: bool) -> Sent:
        """Take note of bytes that leave; `eager`: more of them wait than the road takes."""
        if not self.in_flight:
            self._delivered_at = now
        self.in_flight += size
        self.largest = max(size, int(self.largest * 0.98))
        return Sent(size, now, self.delivered, self._delivered_at, eager)

    def acked(self, sent: Sent, now: float) -> None:
        """Take note of their acknowledgement."""
        self.in_flight -= sent.size
        self.delivered += sent.size
        self._interval_s = now - self._delivered_at
        self._delivered_at = now
        took = max(now - sent.delivered_at, now - sent.at, 1e-4)
        rate = (self.delivered - sent.delivered) / took
        if not self._rates or rate >= self._rates[0][1]:
            self._rates.clear()
        elif not sent.eager:
            return
        else:
            window_s = max(_RATE_WINDOW_S, _ACKS * self._interval_s)
            while self._rates and self._rates[0][0] < now - window_s:
                self._rates.popleft()
            while self._rates and self._rates[-1][1] <= rate:
                self._rates.pop()
        self._rates.append((now, rate))

    def lost(self, sent: Sent) -> None:
        """They were not acknowledged and will not be."""
        self.in_flight -= sent.size

    def trip(self, seconds: float, now: float) -> None:
        """Take note of the round trip of something small."""
        while self._trips and self._trips[0][0] < now - _TRIP_WINDOW_S:
            self._trips.popleft()
        while self._trips and self._trips[-1][1] >= seconds:
            self._trips.pop()
        self._trips.append((now, seconds))
        self.queue_s = seconds - self._trips[0][1]

    def slower(self, share: float) -> None:
        """The road has proven to carry less: take that share of what was thought."""
        self._rates = deque((at, rate * share) for at, rate in self._rates)
