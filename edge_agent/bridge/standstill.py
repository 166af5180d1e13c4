"""Whether Kafka takes what is on its way to it, by what was settled between two looks; and that it does so again."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_S = 1.0
_BLIP_S = 2.0  # what passes in less is not worth a line


class Standstill:
    """One life; `look` at it now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._settled = 0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """For how long nothing of what is on its way was taken; 0 for less than two seconds."""
        stood = 0.0 if self._since is None else self._clock() - self._since
        return stood if stood >= _BLIP_S else 0.0

    def look(self, settled: int, under_way: int) -> float:
        """How many seconds it stood if it goes on now, else 0; messages that Kafka has, and those on their way."""
        stands = under_way > 0 and settled == self._settled
        stood = 0.0 if stands else self.seconds
        self._settled = settled
        if not stands:
            self._since = self._clock() if under_way else None
        elif self._since is None:
            self._since = self._clock()
        return stood
