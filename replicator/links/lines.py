"""Which lane and which connection a partition has on the road to the target."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from contextlib import suppress
from typing import Protocol

import structlog

from headwater.contract.errors import HeadwaterError, Transient
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.compression import Codec
from headwater.transport.kafka_batch.meter import Meter
from headwater.transport.kafka_batch.routes import WRITE
from replicator.journal import Journal
from replicator.links.books import Books
from replicator.links.budget import Budget, Shut
from replicator.links.governor import SHORT_S, Gate, Governor
from replicator.links.settings import LinkSettings
from replicator.sharing.shares import SHARES
from replicator.way import Way

# A broker's receive buffer of 100 KiB a connection (socket.receive.buffer.bytes) is less than a long road holds.
_CONNECTIONS = 4
_LOOK_S = 0.5
_PROBE_BYTES = 120  # towards the target: a question, and the acknowledgement of its answer, with TCP and IP
_PROBE_SHARE = 0.01
_PATIENCE = 4.0
_OWN_SHARE = 0.01
_LAST_S = 2.0
_REST_S = 0.02  # between two writes of what is spent
_FOR_FIRST = "the budget is used up, but for the first lane"
_UNWRITTEN = "the target does not take what was spent of the budget"
_LONGEST_REST_S = 120.0

_log = structlog.get_logger(__name__)


class Beside(Protocol):
    """What else takes the road and its budget: the way down."""

    def hold(self, why: str) -> None:
        """Have it fetch nothing for this reason, or with an empty one go on."""
        ...


class Lines:
    """Of one link, or of the shares of it that this instance has: its rate is divided by them, its budget is common.

    `meter` counts all that this process has on the road, `beside` the link too.
    """

    def __init__(
        self, settings: LinkSettings, target: Cluster, journal: Journal, meter: Meter, beside: Beside | None = None
    ) -> None:
        self._beside = beside
        self._settings = settings
        self._target = target
        self._books = Books(settings, target, journal, meter)
        self.shut: dict[int, Shut] = {}  # by number of a lane
        self._due = asyncio.Event()  # more is to be written as spent
        self._overdrawn_at: float | None = None
        self._names = settings.lane_names
        part = 1.0 if journal.held is None else len(journal.held) / SHARES
        rate = settings.rate_bytes_s
        self.governor = Governor(settings.weights, most_rate=None if rate is None else rate * part)

    @classmethod
    async def open(
        cls, settings: LinkSettings, target: Cluster, journal: Journal, meter: Meter, beside: Beside | None = None
    ) -> Lines:
        """With what the former lives have spent, and a first look at the round trip."""
        lines = cls(settings, target, journal, meter, beside)
        lines.look()
        await lines.probe()
        return lines

    @property
    def budget(self) -> Budget:
        """What the link may cost, and has."""
        return self._books.budget

    @property
    def recompress(self) -> Codec | None:
        """Codec that batches are packed anew with, if they are."""
        return self._settings.recompress

    def gate(self, way: Way) -> Gate:
        """A partition's place in its lane."""
        return Gate(self.governor, self._settings.lane_of(way.ledger))

    def purpose(self, way: Way) -> str:
        """Name of the connection that a partition's batches take.

        The first lane shares one with everything that is small. On a short road all do: few large requests cost less.
        """
        lane = self._settings.lane_of(way.ledger)
        trip_s = self.governor.estimate.trip_s
        if lane == 0 < len(self._settings.lanes) or (trip_s is not None and trip_s < SHORT_S):
            return WRITE
        return f"{self._names[lane]}-{way.partition % _CONNECTIONS}"

    async def run(self) -> None:
        """Measure the round trip as often as the link bears it, and keep to the budget and the times; until cancelled.

        Each by itself: a target that does not answer keeps nobody from looking at what it costs.
        """
        works = [asyncio.ensure_future(each) for each in (self._measure(), self._watch(), self._write())]
        try:
            await asyncio.gather(*works)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    async def _measure(self) -> None:
        while True:
            began = time.monotonic()
            await self.probe()
            rate = self.governor.speed.known or 0.0
            every_s = max(_LOOK_S, _PROBE_BYTES / max(rate * _PROBE_SHARE, 1.0)) if self.governor.paced else 5.0
            await asyncio.sleep(max(min(every_s, 5.0) - (time.monotonic() - began), 0.0))

    async def _watch(self) -> None:
        short = self.governor.short
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(short.wait(), _LOOK_S)
            self.follow()
            self.look()

    async def _write(self) -> None:
        while True:
            await self._due.wait()
            governor = self.governor
            kept = await self._books.keep(dt.datetime.now(dt.UTC), governor.estimate.in_flight, governor.wanted)
            self.look()
            await asyncio.sleep(_REST_S if kept else _LOOK_S)

    def look(self) -> None:
        """Count what was spent, shut the lanes that may not send now, and see whether more is to be written."""
        now, governor = dt.datetime.now(dt.UTC), self.governor
        self._books.look(now)
        credit = self._books.credit(now)
        self._overdrawn_at = None if credit is None or credit > 0 else self._overdrawn_at or time.monotonic()
        self._shut_lanes(now)
        if credit is None:
            return
        under_way, left = governor.estimate.in_flight, self.budget.left
        governor.credit = credit - under_way if left is None or left > under_way else min(credit - under_way, 0)
        governor.wanted = 0
        governor.changed()
        governor.short.clear()  # whoever waits still has said what is wanted
        if self._books.is_due(now, governor.estimate.in_flight, governor.wanted):
            self._due.set()
        else:
            self._due.clear()

    def _shut_lanes(self, now: dt.datetime) -> None:
        governor = self.governor
        bulk = len(self._settings.lanes)
        self.shut = self.budget.shut(bulk + 1, now)
        if bulk in self.shut and len(self._names) > bulk + 1:
            self.shut[bulk + 1] = self.shut[bulk]
        if self._beside is not None:
            self._beside.hold(_FOR_FIRST if self.budget.is_for_first(now) else _UNWRITTEN if self._is_unpaid else "")
        shut = frozenset(self.shut)
        if shut != governor.shut:
            names = [self._names[lane] for lane in sorted(shut)]
            _log.info("lanes wait for their budget or their time" if names else "all lanes may send", lanes=names)
            governor.shut = shut
            governor.changed()

    @property
    def _is_unpaid(self) -> bool:
        """Whether all that is written as spent has been for a while."""
        return self._overdrawn_at is not None and time.monotonic() - self._overdrawn_at >= _LOOK_S

    async def close(self) -> None:
        """Write what was spent in the end, for a moment at most; a life that cannot has written it before."""
        with suppress(HeadwaterError, TimeoutError):
            async with asyncio.timeout(_LAST_S):
                await self._books.close(dt.datetime.now(dt.UTC))

    def worth_s(self, size: int) -> float:
        """How long to rest after so many bytes of the link's own, so that they take a hundredth of it."""
        rate = self.governor.rate
        return 0.0 if rate is None else min(size / (_OWN_SHARE * rate), _LONGEST_REST_S)

    async def probe(self) -> None:
        """Ask the target something small; while it does not answer, the round trip is what it was."""
        began = time.monotonic()
        asking = asyncio.ensure_future(self._target.nodes())
        try:
            while not (await asyncio.wait([asking], timeout=_LOOK_S))[0]:
                self.governor.tripping(time.monotonic() - began)
                self.follow()
            asking.result()
        except Transient:
            return
        finally:
            asking.cancel()
        self.governor.tripped(time.monotonic() - began)

    def follow(self) -> None:
        """Pace the connections of all lanes but the first; answers may wait behind what is under way on any."""
        governor = self.governor
        rate, estimate = governor.rate, governor.estimate
        slowest = estimate.rate or 2000.0
        for purpose, connection in self._target.lines():
            if purpose != WRITE:
                connection.pace(rate)
            connection.patience_s = _PATIENCE * estimate.in_flight / slowest
