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

import structlog

from headwater.contract.errors import DataMissing, Transient
from headwater.transport.kafka_batch import Cluster, SetBack
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
_FIRST_AHEAD = 1 << 20  # bytes at most: a box that is switched off and on does not spend its month by that
_LAST_WORDS = 2 << 10  # bytes of a life behind the last that it writes: that, and the end of its connections

_log = structlog.get_logger(__name__)


class Books:
    """Of one life of a link; `budget` follows them. Nothing is written without a budget."""

    def __init__(self, settings: LinkSettings, target: Cluster, journal: Journal, meter: Meter) -> None:
        self._target, self._journal, self._meter = target, journal, meter
        self._is_shared = journal.held is not None
        self._key = _WHOLE if journal.held is None else b"%s-%d" % (_WHOLE, min(journal.held))
        kept = _spent(journal.stored)
        own = kept.pop(self._key, Spent())
        self.budget = Budget(settings.budget, settings.hours, own, kept, meter.booked)
        self._said, self._said_at, self._said_carried = own, 0.0, meter.booked
        self._most_ahead = int(self.budget.tightest * _MOST_AHEAD)
        self._ahead = min(self._most_ahead, _FIRST_AHEAD)
        self._written: Spent | None = None  # and what others have written is not read yet

    def look(self, now: dt.datetime) -> None:
        """Count what was spent since the last look."""
        if self.budget.counts:
            self.budget.look(self._meter.carried, now)

    def credit(self, now: dt.datetime) -> int | None:
        """Bytes that are written as spent and are not; None without a budget."""
        limits = zip(self.budget.limits, self._said.at(now), self.budget.spent.at(now), strict=True)
        return min((said - spent for limit, said, spent in limits if limit is not None), default=None)

    def is_due(self, now: dt.datetime, under_way: int = 0, wanted: int = 0) -> bool:
        """Whether half of what was written is spent, or less is left than is `wanted`, bytes that want to leave.

        `under_way`: bytes that are on their way, which the kernel may not have counted yet.
        """
        credit = self.credit(now)
        return credit is not None and credit - under_way < max(self._ahead // 2, wanted)

    async def keep(self, now: dt.datetime, under_way: int = 0, wanted: int = 0) -> bool:
        """Write what will be spent next, if that is due, and read what others have written; False: it has to be again.

        Waits while the target takes nothing. Fenced: another instance has the share. SetBack as writes do.
        """
        if not self.is_due(now, under_way, wanted):
            return True
        try:
            if self._written is None:
                self._written = await self._write(now, under_way, wanted)
            if self._is_shared:
                self.budget.others.update(_spent(await self._journal.news(self._target)))
                self.budget.others.pop(self._key, None)
        except SetBack:
            raise
        except DataMissing as error:  # a new leader learns from its replicas where the log ends
            _log.warning("what other instances have spent is read again", why=str(error))
            return False
        except Transient:
            return False
        self._said, self._written = self._written, None
        return True

    async def _write(self, now: dt.datetime, under_way: int, wanted: int) -> Spent:
        budget = self.budget
        if self._said_at:
            rate = (budget.carried - self._said_carried) / max(time.monotonic() - self._said_at, 0.5)
            self._ahead = max(min(int(rate * _AHEAD_S), self._most_ahead), _LEAST_AHEAD)
        spent = budget.spent.plus(under_way + wanted + self._ahead, now)  # to write it costs some, too
        await self._say(spent)
        return spent

    async def _say(self, spent: Spent) -> None:
        carried = self.budget.carried
        await self._journal.keep({self._key: spent})
        self._said_at, self._said_carried = time.monotonic(), carried
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
