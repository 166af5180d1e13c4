"""What a link has spent is counted over its lives, and what it may not spend is kept."""

from __future__ import annotations

import datetime as dt

from headwater.transport.kafka_batch.road import Road
from replicator.links.budget import Budget, Shut, Spent
from replicator.links.settings import BudgetSettings

_NOON = dt.datetime(2026, 11, 21, 12, 30, tzinfo=dt.UTC)


def _roads(**sent: int) -> dict[int, Road]:
    return {hash(name): Road(0.1, count, 0, 100) for name, count in sent.items()}


def test_bytes_both_ways_count_once_over_connections_that_come_and_go() -> None:
    """Sent and received of each connection, from its beginning to its end."""
    budget = Budget(BudgetSettings(day_bytes=10_000), ())
    budget.look(_roads(a=1000), _NOON)
    budget.look(_roads(a=1500, b=200), _NOON)
    budget.look(_roads(b=300), _NOON)
    assert budget.spent.day_bytes == 1500 + 100 + 300 + 100
    assert budget.left == 8000


def test_a_new_life_goes_on_counting_and_a_new_day_begins_at_nothing() -> None:
    """What was stored counts until the hour, the day, the month is over."""
    budget = Budget(BudgetSettings(hour_bytes=5000, day_bytes=9000), (), Spent().plus(4000, _NOON))
    budget.look(_roads(a=900), _NOON)
    assert budget.left == 0
    assert set(budget.shut(3, _NOON)) == {0, 1, 2}
    budget.look(_roads(a=900), _NOON + dt.timedelta(hours=1))
    assert budget.left == 4000
    budget.look(_roads(a=900), _NOON + dt.timedelta(days=1))
    assert budget.left == 5000


def test_the_first_lane_has_the_end_of_a_budget_for_itself() -> None:
    """Behind 95 % alarms still go, the others wait."""
    budget = Budget(BudgetSettings(month_bytes=100_000), (), Spent().plus(96_000, _NOON))
    assert set(budget.shut(3, _NOON)) == {1, 2}
    assert set(budget.shut(1, _NOON)) == {0}


def test_bulk_keeps_to_its_times_of_day() -> None:
    """Outside of them it waits; they may go over midnight."""
    budget = Budget(BudgetSettings(), ("22:00-06:00", "12:00-12:45"))
    assert not budget.counts
    assert budget.shut(3, _NOON) == {}
    assert budget.shut(3, _NOON.replace(hour=13)) == {2: Shut("hours", _NOON.replace(hour=22, minute=0))}
    assert budget.shut(3, _NOON.replace(hour=23)) == {}
    assert budget.shut(3, _NOON.replace(hour=5)) == {}
    assert set(budget.shut(3, _NOON.replace(hour=6, minute=0))) == {2}


def test_who_waits_knows_until_when() -> None:
    """The next time of day, or the end of whatever is used up: the hour, the day, the month; of several the last."""
    december = dt.datetime(2026, 12, 31, 23, 59, tzinfo=dt.UTC)
    spent = Spent().plus(10_000, december)
    for limits, until in (
        ({"hour_bytes": 2000}, dt.datetime(2027, 1, 1, tzinfo=dt.UTC)),
        ({"month_bytes": 2000}, dt.datetime(2027, 1, 1, tzinfo=dt.UTC)),
    ):
        assert Budget(BudgetSettings(**limits), (), spent).shut(2, december)[0] == Shut("budget", until)
    spent = Spent().plus(10_000, _NOON)
    budget = Budget(BudgetSettings(hour_bytes=2000, day_bytes=3000), ("06:00-07:00",), spent)
    tomorrow = _NOON.replace(day=22, hour=0, minute=0)
    assert budget.shut(2, _NOON) == {0: Shut("budget", tomorrow), 1: Shut("hours", tomorrow.replace(hour=6))}
