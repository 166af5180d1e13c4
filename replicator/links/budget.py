"""What the road to the target may cost: bytes an hour, a day, a month, and times of day in which bulk is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from headwater.transport.kafka_batch.road import Road
from replicator.links.settings import BudgetSettings

KEY = b"spent"
_FOR_FIRST = 0.05  # of a budget


class Spent(msgspec.Struct, frozen=True):
    """Bytes in the hour, the day and the month that began at `hour`, `day`, `month` (ISO 8601, UTC)."""

    hour: str = ""
    hour_bytes: int = 0
    day: str = ""
    day_bytes: int = 0
    month: str = ""
    month_bytes: int = 0
    v: int = 1

    def plus(self, size: int, now: dt.datetime) -> Spent:
        """With so many more bytes; what is over begins anew."""
        hour, day, month = now.strftime("%Y-%m-%dT%H"), now.strftime("%Y-%m-%d"), now.strftime("%Y-%m")
        return Spent(
            hour,
            size + (self.hour_bytes if hour == self.hour else 0),
            day,
            size + (self.day_bytes if day == self.day else 0),
            month,
            size + (self.month_bytes if month == self.month else 0),
        )


class Shut(NamedTuple):
    """Why a lane may not send now, and when it may again (UTC)."""

    why: Literal["budget", "hours"]
    until: dt.datetime


class Budget:
    """Of one link, over its lives: `spent` is stored by whoever runs it."""

    def __init__(self, settings: BudgetSettings, hours: Sequence[str], spent: Spent | None = None) -> None:
        self.spent = spent or Spent()
        self._settings = settings
        self._hours = [_minutes(each) for each in hours]
        self._roads: dict[int, int] = {}

    @property
    def counts(self) -> bool:
        """Whether there is anything to count."""
        return any(limit is not None for limit in self._limits())

    @property
    def tightest(self) -> int:
        """The smallest budget, in bytes."""
        return min((limit for limit in self._limits() if limit is not None), default=0)

    def _limits(self) -> tuple[int | None, ...]:
        settings = self._settings
        return settings.hour_bytes, settings.day_bytes, settings.month_bytes

    def look(self, roads: Mapping[int, Road], now: dt.datetime) -> None:
        """Count what went over the connections since the last look, both ways."""
        fresh = {name: road.sent + road.received for name, road in roads.items()}
        more = sum(max(count - self._roads.get(name, 0), 0) for name, count in fresh.items())
        self._roads = fresh
        self.spent = self.spent.plus(more, now)

    @property
    def left(self) -> int | None:
        """Bytes that may still be spent; None without a budget."""
        spent = (self.spent.hour_bytes, self.spent.day_bytes, self.spent.month_bytes)
        left = [limit - used for limit, used in zip(self._limits(), spent, strict=True) if limit is not None]
        return max(min(left), 0) if left else None

    def shut(self, lanes: int, now: dt.datetime) -> dict[int, Shut]:
        """Lanes, of so many, that may not send now. The first one has the last twentieth of a budget for itself."""
        found: dict[int, Shut] = {}
        if self._hours and not any(_within(each, now.hour * 60 + now.minute) for each in self._hours):
            found[lanes - 1] = Shut("hours", min(_next(begin, now) for begin, _ in self._hours))
        spent = (self.spent.hour_bytes, self.spent.day_bytes, self.spent.month_bytes)
        for limit, used, until in zip(self._limits(), spent, _ends(now), strict=True):
            if limit is None or used < limit * (1 - _FOR_FIRST):
                continue
            for lane in range(0 if used >= limit else min(1, lanes - 1), lanes):
                if lane not in found or found[lane].until < until:
                    found[lane] = Shut("budget", until)
        return found


def _minutes(hours: str) -> tuple[int, int]:
    begin, end = (int(each[:2]) * 60 + int(each[3:]) for each in hours.split("-"))
    return begin, end


def _within(hours: tuple[int, int], minute: int) -> bool:
    begin, end = hours
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _ends(now: dt.datetime) -> tuple[dt.datetime, dt.datetime, dt.datetime]:
    """When this hour, this day and this month are over."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    month = (day.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    return hour + dt.timedelta(hours=1), day + dt.timedelta(days=1), month


def _next(minute: int, now: dt.datetime) -> dt.datetime:
    """When it is this minute of a day again."""
    today = now.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    return today if today > now else today + dt.timedelta(days=1)
