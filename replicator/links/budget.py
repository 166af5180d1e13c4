"""What the road to the target may cost: bytes an hour, a day, a month, and times of day in which bulk is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import msgspec

from replicator.links.settings import BudgetSettings

_FOR_FIRST = 0.05  # of a budget
_LEAST_YEAR = 2026  # a clock that shows less was not set yet
_MOST_AHEAD = dt.timedelta(days=366)


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
        """With so many more bytes; what is over begins anew.

        A clock that goes back gives nothing back: what is stored stays until it is over. Only what lies more than a
        year ahead of a clock that may be right is forgotten: it was stored by one that was wrong.
        """
        if now.year >= _LEAST_YEAR and self.month > _periods(now + _MOST_AHEAD)[2]:
            return Spent().plus(size, now)
        hour, day, month = (max(*each) for each in zip(_periods(now), (self.hour, self.day, self.month), strict=True))
        return Spent(
            hour,
            size + (self.hour_bytes if hour == self.hour else 0),
            day,
            size + (self.day_bytes if day == self.day else 0),
            month,
            size + (self.month_bytes if month == self.month else 0),
        )

    def at(self, now: dt.datetime) -> tuple[int, int, int]:
        """Bytes in the hour, the day and the month of `now`."""
        fresh = self.plus(0, now)
        return fresh.hour_bytes, fresh.day_bytes, fresh.month_bytes


def _periods(now: dt.datetime) -> tuple[str, str, str]:
    """Hour, day and month, such that later ones sort behind."""
    return now.strftime("%Y-%m-%dT%H"), now.strftime("%Y-%m-%d"), now.strftime("%Y-%m")


_NOTHING: Mapping[bytes, Spent] = MappingProxyType({})


class Shut(NamedTuple):
    """Why a lane may not send now, and when it may again (UTC)."""

    why: Literal["budget", "hours"]
    until: dt.datetime


class Budget:
    """Of one link, over its lives: `spent` is what this instance counts, `others` what else is stored, by its keys.

    Both are kept by books.py. `carried`: the bytes of this process that are in `spent` already.
    """

    def __init__(
        self,
        settings: BudgetSettings,
        hours: Sequence[str],
        spent: Spent | None = None,
        others: Mapping[bytes, Spent] = _NOTHING,
        carried: int = 0,
    ) -> None:
        self.spent = spent or Spent()
        self.others = dict(others)
        self.carried = carried
        self._settings = settings
        self._hours = [_minutes(each) for each in hours]
        self._at: dt.datetime | None = None

    @property
    def counts(self) -> bool:
        """Whether there is anything to count."""
        return any(limit is not None for limit in self.limits)

    @property
    def tightest(self) -> int:
        """The smallest budget, in bytes."""
        return min((limit for limit in self.limits if limit is not None), default=0)

    @property
    def limits(self) -> tuple[int | None, int | None, int | None]:
        """Of an hour, a day and a month, in bytes; None: no limit."""
        settings = self._settings
        return settings.hour_bytes, settings.day_bytes, settings.month_bytes

    def look(self, carried: int, now: dt.datetime) -> None:
        """Count what went over the connections since the last look; `carried`: all so far, both ways (meter.py)."""
        self.spent = self.spent.plus(carried - self.carried, now)
        self.carried, self._at = carried, now

    def _used(self, now: dt.datetime) -> tuple[int, int, int]:
        hours, days, months = zip(*(each.at(now) for each in (self.spent, *self.others.values())), strict=True)
        return sum(hours), sum(days), sum(months)

    @property
    def left(self) -> int | None:
        """Bytes that may still be spent by whoever shares the link; None without a budget."""
        used = self._used(self._at or dt.datetime.now(dt.UTC))
        left = [limit - each for limit, each in zip(self.limits, used, strict=True) if limit is not None]
        return max(min(left), 0) if left else None

    def is_for_first(self, now: dt.datetime) -> bool:
        """Whether no more is left than the first lane has for itself."""
        limits = zip(self.limits, self._used(now), strict=True)
        return any(limit is not None and used >= limit * (1 - _FOR_FIRST) for limit, used in limits)

    def shut(self, lanes: int, now: dt.datetime) -> dict[int, Shut]:
        """Lanes, of so many, that may not send now. The first one has the last twentieth of a budget for itself."""
        found: dict[int, Shut] = {}
        if self._hours and not any(_within(each, now.hour * 60 + now.minute) for each in self._hours):
            found[lanes - 1] = Shut("hours", min(_next(begin, now) for begin, _ in self._hours))
        for limit, used, until in zip(self.limits, self._used(now), _ends(now), strict=True):
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
