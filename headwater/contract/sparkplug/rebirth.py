"""When an edge node may be asked for its births: rarely, and ever more rarely while that does not help."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY_MS = 60_000  # without a new reason to ask, so long after a birth
_MOST_DOUBLINGS = 20


@dataclass
class Asking:
    """Requests to one edge node; times in ms.

    `asked`: requests since its last birth. `futile`: births after which there soon was a reason to ask again, such as
    an edge node that sends what its own births do not name. Both double the interval.
    """

    asked: int = 0
    futile: int = 0
    born_ms: int = 0
    not_before_ms: int = 0

    def may(self, now_ms: int) -> bool:
        """Whether it may be asked now."""
        return now_ms >= self.not_before_ms

    def ask(self, now_ms: int, interval_ms: int, most_ms: int) -> None:
        """It is asked."""
        if not self.asked:
            soon = self.born_ms > 0 and now_ms - self.born_ms < HEALTHY_MS + self._interval(interval_ms, most_ms)
            self.futile = min(self.futile + 1, _MOST_DOUBLINGS) if soon else 0
        self.not_before_ms = now_ms + self._interval(interval_ms, most_ms)
        self.asked = min(self.asked + 1, _MOST_DOUBLINGS)

    def answer(self, now_ms: int, interval_ms: int, most_ms: int) -> None:
        """A birth came."""
        self.asked = 0
        self.born_ms = now_ms
        self.not_before_ms = min(self.not_before_ms, now_ms + self._interval(interval_ms, most_ms))

    def _interval(self, interval_ms: int, most_ms: int) -> int:
        return min(interval_ms << min(self.asked + self.futile, _MOST_DOUBLINGS), max(most_ms, interval_ms))


class Rate:
    """At most so many requests a second over all edge nodes."""

    def __init__(self, per_second: int) -> None:
        self._most = per_second
        self._second = 0
        self._used = 0

    def take(self, now_ms: int) -> bool:
        """Whether one more is allowed now; it then counts."""
        if now_ms // 1000 != self._second:
            self._second, self._used = now_ms // 1000, 0
        if self._used >= self._most:
            return False
        self._used += 1
        return True
