"""What a link has spent, kept in the positions topic: the budget is the link's, whoever runs it, and over its lives.

Each instance writes under a key of its own, with the fenced writer of a share that it holds; whoever gets the share
goes on counting where that key stands. It writes what it will have spent within half a minute *before* it spends it,
and reads what the others have written by then. The log has one order: of two who write at once the later one sees the
other, so together they do not spend what is left twice; and what a kill hides is written already.
"""

from __future__ import annotations

import datetime as dt
import re
import time

from headwater.contract.errors import Transient
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.meter import Meter
from replicator.journal import Journal
from replicator.links.budget import Budget, Spent
from replicator.links.settings import LinkSettings
from replicator.position import decode

_WHOLE = b"spent"
_KEYS = re.compile(rb"spent(-\d+)?")
_AHEAD_S = 30.0
_LEAST_AHEAD = 8 << 10  # bytes; what is written costs some hundred
_MOST_AHEAD = 0.02  # of the smallest budget
_LAST_WORDS = 2 << 10  # bytes of a life behind the last that it writes: that, and the end of its connections


class Books:
    """Of one life of a link; `budget` follows them. Nothing is written without a budget."""

    def __init__(self, settings: LinkSettings, target: Cluster, journal: Journal, meter: Meter) -> None:
        self._target, self._journal, self._meter = target, journal, meter
        self._is_shared = journal.held is not None
        self._key = _WHOLE if journal.held is None else b"%s-%d" % (_WHOLE, min(journal.held))
        kept = _spent(journal.stored)
        own = kept.pop(self._key, Spent())
        self.budget = Budget(settings.budget, settings.hours, own, kept, meter.booked)
        self._said, self._said_at, self._said_carried = own, time.monotonic(), meter.booked
        self._ahead = _LEAST_AHEAD

    def look(self, now: dt.datetime) -> None:
        """Count what was spent since the last look."""
        if self.budget.counts:
            self.budget.look(self._meter.carried, now)

    async def keep(self, now: dt.datetime) -> None:
        """Write what will be spent next, once half of what was written is spent, and read what others have written.

        Fenced: another instance has the share. While the target does not answer, the next call says more.
        """
        if not self._is_due(now):
            return
        budget, seconds = self.budget, max(time.monotonic() - self._said_at, 0.5)
        rate = (budget.carried - self._said_carried) / seconds
        self._ahead = max(int(min(rate * _AHEAD_S, budget.tightest * _MOST_AHEAD)), _LEAST_AHEAD)
        try:
            await self._say(budget.spent.plus(self._ahead, now))
            if self._is_shared:
                budget.others.update(_spent(await self._journal.news(self._target)))
                budget.others.pop(self._key, None)
        except Transient:
            return

    def _is_due(self, now: dt.datetime) -> bool:
        limits = zip(self.budget.limits, self._said.at(now), self.budget.spent.at(now), strict=True)
        return any(limit is not None and said - spent < self._ahead / 2 for limit, said, spent in limits)

    async def _say(self, spent: Spent) -> None:
        carried = self.budget.carried
        await self._journal.keep({self._key: spent})
        self._said, self._said_at, self._said_carried = spent, time.monotonic(), carried
        self._meter.booked = carried

    async def close(self, now: dt.datetime) -> None:
        """Write what was spent in the end. Raises as writes do."""
        if self.budget.counts:
            self.look(now)
            await self._say(self.budget.spent.plus(_LAST_WORDS, now))


def _spent(kept: dict[bytes, bytes | None]) -> dict[bytes, Spent]:
    return {
        key: decode(value, Spent, f"positions topic, key {key.decode()}")
        for key, value in kept.items()
        if value is not None and _KEYS.fullmatch(key)
    }
