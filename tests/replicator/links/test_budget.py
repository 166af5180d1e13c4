"""What a link has spent is counted over its lives, and what it may not spend is kept."""

from __future__ import annotations

import datetime as dt

from headwater.transport.kafka_batch.road import Road
from replicator.links.budget import Budget, Spent
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
    assert budget.shut(3, _NOON) == {0, 1, 2}
    budget.look(_roads(a=900), _NOON + dt.timedelta(hours=1))
    assert budget.left == 4000
    budget.look(_roads(a=900), _NOON + dt.timedelta(days=1))
    assert budget.left == 5000


def test_the_first_lane_has_the_end_of_a_budget_for_itself() -> None:
    """Behind 95 % alarms still go, the others wait."""
    budget = Budget(BudgetSettings(month_bytes=100_000), (), Spent().plus(96_000, _NOON))
    assert budget.shut(3, _NOON) == {1, 2}
    assert budget.shut(1, _NOON) == {0}


def test_bulk_keeps_to_its_times_of_day() -> None:
    """Outside of them it waits; they may go over midnight."""
    budget = Budget(BudgetSettings(), ("22:00-06:00", "12:00-12:45"))
    assert not budget.counts
    assert budget.shut(3, _NOON) == frozenset()
    assert budget.shut(3, _NOON.replace(hour=13)) == {2}
    assert budget.shut(3, _NOON.replace(hour=23)) == frozenset()
    assert budget.shut(3, _NOON.replace(hour=5)) == frozenset()
    assert budget.shut(3, _NOON.replace(hour=6, minute=0)) == {2}
