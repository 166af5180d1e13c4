"""A line in the log for messages that are refused: nonsense is seen, and does not fill the disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog

EVERY_S = 10.0


class RefusalLog:
    """At most one warning in `EVERY_S` seconds for each reason code, with how many there were since the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._untold: Counter[str] = Counter()
        self._due: dict[str, float] = {}

    def note(self, reason: str, why: str, **where: str) -> None:
        """One more message or record goes to dead-letters; `why` is what is wrong with it, `where` names its place."""
        self._untold[reason] += 1
        now = self._clock()
        if now < self._due.get(reason, now):
            return
        self._due[reason] = now + EVERY_S
        count = self._untold.pop(reason)
        structlog.get_logger(__name__).warning("to dead-letters", reason=reason, why=why, count=count, **where)
