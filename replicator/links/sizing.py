"""How many bytes one write may have on a slow link.

What is written arrives whole or not at all: when a link is cut, the batch that is on it has been sent in vain, and a
link that is cut more often than a batch takes would never carry one. So a batch takes AT_ONCE_S of the link at most.

Why not less: each batch costs about 160 bytes besides its records (its header, its request), which at 64 kbit/s is 2 %
of a second of the link, and a cut costs half a batch on average, which with a cut a minute is 1 % of a second in one
piece. The sum of both is smallest at about a second and a quarter, and flat around it. The same sum says why nothing
gets smaller than LEAST_BYTES on even slower links.

How fast a road is shows in what is acknowledged on it. Until then batches have UNKNOWN_BYTES at most, and an eighth of
what has arrived: a fast road is through that within a few round trips, and a slow one is not taken for half a minute.
"""

from __future__ import annotations

from collections.abc import Callable

from replicator.limits import NO_LIMIT

AT_ONCE_S = 1.25
LEAST_BYTES = 4 << 10
UNKNOWN_BYTES = 16 << 10
_NEWS = 0.125  # share by which it changes before anybody is told


class Sizing:
    """Of one link. Who builds batches is told, so that nobody has to ask for each."""

    def __init__(self) -> None:
        self.most = NO_LIMIT
        self.is_guess = False
        self._told: list[Callable[[int], None]] = []

    def watch(self, tell: Callable[[int], None]) -> None:
        """Tell how many bytes a batch may have, now and whenever that changes."""
        self._told.append(tell)
        tell(self.most)

    def follow(self, rate: float | None, delivered: int | None = None) -> None:
        """Heed the bytes a second that the link carries; None: nothing is paced.

        `delivered`: bytes that have arrived, as long as they tell no rate.
        """
        most = NO_LIMIT if rate is None else max(LEAST_BYTES, int(rate * AT_ONCE_S))
        self.is_guess = rate is not None and delivered is not None
        if rate is not None and delivered is not None:
            most = min(most, UNKNOWN_BYTES + delivered // 8)
        if abs(most - self.most) > _NEWS * min(most, self.most):
            self.most = most
            for tell in self._told:
                tell(most)
