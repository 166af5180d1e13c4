"""What a life of the bridge tells about itself, put together when somebody asks."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Protocol

import structlog
from msgspec.structs import replace

from edge_agent.bridge.counts import Counts
from edge_agent.bridge.live import RouteView, Snapshot, SpoolView
from edge_agent.bridge.outlet import Outlet
from edge_agent.bridge.records import Records
from edge_agent.bridge.routes import matches_of
from edge_agent.bridge.standstill import LOOK_S, Standstill
from headwater.contract import topics
from headwater.contract.errors import Permanent
from headwater.transport import logs
from headwater.transport.lifecycle import sleep_or_stop
from headwater.transport.mqtt.source import Subscriber

if TYPE_CHECKING:
    from edge_agent.bridge.bridge import Bridge
    from edge_agent.bridge.sparkplug import Sparkplug
    from edge_agent.bridge.spooled_drain import Drainer
    from edge_agent.bridge.spooled_intake import Intake
    from edge_agent.settings import EdgeSettings
    from headwater.transport.spool import Spool


# What is over once MQTT is connected and Kafka takes what comes.
_OUTAGES = (
    "waiting: writing to ",
    "waiting: connecting to ",
    "waiting: looking for the edge's",
    "mqtt connection lost",
)
_REFUSED = "to dead-letters"

_log = structlog.get_logger(__name__)


class Life(Protocol):
    """What is asked of a life that has begun."""

    counts: Counts
    records: Records
    outlet: Outlet

    @property
    def held(self) -> int:
        """Messages that are not settled, counted where they are."""
        ...

    @property
    def unacknowledged(self) -> int:
        """Messages that MQTT has not been told about."""
        ...

    def spool(self) -> SpoolView | None:
        """The spool, if there is one."""
        ...


class Direct:
    """A life without a spool."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.counts, self.records, self.outlet = bridge.counts, bridge.records, bridge.outlet

    @property
    def held(self) -> int:
        """See Life."""
        return self.outlet.messages + self._bridge.held_back

    @property
    def unacknowledged(self) -> int:
        """See Life."""
        return self._bridge.unacknowledged

    def spool(self) -> None:
        """There is none."""


class Spooled:
    """A life with a spool; `intake` is there once MQTT is to be connected to."""

    def __init__(self, spool: Spool, most_bytes: int, drainer: Drainer, counts: Counts) -> None:
        self.intake: Intake | None = None
        self._spool = spool
        self._most_bytes = most_bytes
        self._drainer = drainer
        assert drainer.outlet is not None  # noqa: S101 - it has begun
        self.counts, self.records, self.outlet = counts, drainer.records, drainer.outlet

    @property
    def held(self) -> int:
        """See Life."""
        return self._drainer.held + (0 if self.intake is None else self.intake.unstored)

    @property
    def unacknowledged(self) -> int:
        """See Life."""
        return 0 if self.intake is None else self.intake.unacknowledged

    def spool(self) -> SpoolView:
        """See Life."""
        spool, records = self._spool, self._spool.end - self._drainer.settled
        return SpoolView(spool.bytes, self._most_bytes, records, _age_ms(spool), spool.syncs)


class Waiting:
    """A spool before Kafka has answered: which of its messages are there already, only Kafka can say."""

    def __init__(self, spool: Spool, most_bytes: int) -> None:
        self._spool = spool
        self._most_bytes = most_bytes

    def view(self) -> SpoolView:
        """As Life.spool."""
        spool, records = self._spool, self._spool.end - self._spool.oldest
        return SpoolView(spool.bytes, self._most_bytes, records, _age_ms(spool), spool.syncs, is_bound=True)


def _age_ms(spool: Spool) -> int:
    try:
        return spool.age_ms
    except Permanent:  # the drainer says so
        return 0


class Telling:
    """One process; `begin` a life, then set `spool`, `life`, `subscriber` and `sparkplug` once they are there."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.begin(settings)

    def begin(self, settings: EdgeSettings) -> None:
        """A life begins, with these settings."""
        self.spool: Waiting | None = None
        self.life: Life | None = None
        self.subscriber: Subscriber | None = None
        self.sparkplug: Sparkplug | None = None
        self._standstill = Standstill()
        self._settings = settings
        self._since = _now_ms()

    def balance(self) -> dict[str, int | bool]:
        """What the life has counted, and whether all of it is accounted for."""
        if self.life is None:
            return {}
        missing = unaccounted(self.life)
        return {"balanced": missing == 0, "unaccounted": missing, **self.life.counts.as_dict()}

    async def watch(self, stop: asyncio.Event) -> None:
        """Say when Kafka goes on to take messages, until `stop`; that it does not, the writer says."""
        while not await sleep_or_stop(stop, LOOK_S):
            life = self.life
            if life is not None:
                counts = life.counts
                stood = self._standstill.look(counts.written + counts.dead_lettered, life.outlet.messages)
                if stood:
                    _log.info("kafka takes messages again", after_s=round(stood, 1), waiting=counts.waiting)

    def snapshot(self) -> Snapshot:
        """All at this moment; call it on the event loop that the bridge runs on."""
        settings, life, problem = self._settings, self.life, logs.last_problem()
        found = Snapshot(
            at=_now_ms(),
            since=self._since,
            site=settings.site,
            pid=os.getpid(),
            broker=settings.mqtt.where,
            connected=self.subscriber is not None and self.subscriber.subscribed.is_set(),
            counts=Counts().as_dict(),
            spool=None if self.spool is None else self.spool.view(),
            sparkplug=None if self.sparkplug is None else self.sparkplug.view,
            standstill_s=self._standstill.seconds,
            last_error=problem.says,
            last_error_at=problem.at_ms,
        )
        if life is not None:
            found = _with_life(found, life, settings)
        is_well = found.running and found.connected and not found.standstill_s
        return replace(found, last_error_is_over=is_well and found.last_error.startswith(_OUTAGES))


def _with_life(found: Snapshot, life: Life, settings: EdgeSettings) -> Snapshot:
    refusal = life.records.tally.last_refusal  # the log says one a reason in some seconds
    if refusal.at_ms >= found.last_error_at or (refusal.at_ms and found.last_error.startswith(_REFUSED)):
        found = replace(found, last_error=refusal.says, last_error_at=refusal.at_ms)
    return replace(
        found,
        running=True,
        counts=life.counts.as_dict(),
        unaccounted=unaccounted(life),
        unacknowledged=life.unacknowledged,
        held_bytes=life.outlet.bytes,
        routes=_routes(life.records, settings),
        waiting=life.outlet.waiting(),
        clocks=life.records.clocks.view,
        spool=life.spool(),
    )


def unaccounted(life: Life) -> int:
    """Messages that are not where the counts say; the sum and `waiting` are both looked at."""
    counts = life.counts
    missing = counts.received + counts.resumed - counts.settled - life.held
    return missing or counts.waiting - life.held


def _routes(records: Records, settings: EdgeSettings) -> list[RouteView]:
    found = records.tally.counts()
    rows: dict[str, RouteView] = {}
    for match, route in zip(matches_of(settings.bridge.routes, settings.site), settings.bridge.routes, strict=True):
        rows.setdefault(match, RouteView(match, route.to, *found.get(match, (0, 0))))
    if "" in found:
        rows[""] = RouteView("", topics.DEAD_LETTERS, *found[""])
    return list(rows.values())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
