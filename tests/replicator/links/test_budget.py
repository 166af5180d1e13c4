"""What a link has spent is counted over its lives, and what it may not spend is kept."""

from __future__ import annotations

import datetime as dt

from replicator.links.budget import Budget, Shut, Spent
from replicator.links.settings import BudgetSettings

_NOON = dt.datetime(2026, 11, 21, 12, 30, tzinfo=dt.UTC)


def _limits(**limits: int) -> BudgetSettings:
    """Smaller ones than may be set."""
    return BudgetSettings.model_construct(**limits)


def test_what_was_carried_counts_once() -> None:
    """Each look counts what is new since the last one, the first what is new since it was last written."""
    budget = Budget(_limits(day_bytes=10_000), (), Spent().plus(500, _NOON), carried=1000)
    for carried in (1200, 1200, 2500):
        budget.look(carried, _NOON)
    assert budget.spent.day_bytes == 2000
    assert budget.left == 8000


def test_what_others_have_spent_is_spent() -> None:
    """The budget is the link's: what is stored under any key counts, in its hour, its day and its month."""
    others = {b"spent-4": Spent().plus(3000, _NOON), b"spent": Spent().plus(2000, _NOON - dt.timedelta(hours=1))}
    budget = Budget(_limits(hour_bytes=10_000, day_bytes=20_000), (), Spent().plus(6600, _NOON), others)
    budget.look(0, _NOON)
    assert budget.left == 400
    assert set(budget.shut(3, _NOON)) == {1, 2}
    budget.others[b"spent-4"] = Spent().plus(3500, _NOON)
    assert set(budget.shut(3, _NOON)) == {0, 1, 2}
    later = _NOON + dt.timedelta(hours=1)
    assert budget.shut(3, later) == {}
    budget.look(0, later)
    assert budget.left == 20_000 - 6600 - 3500 - 2000


def test_the_way_down_and_bulk_stop_at_the_same_byte() -> None:
    """What the first lane has for itself is neither for bulk nor for what comes from the cloud."""
    for used, is_over in ((94_999, False), (95_000, True), (100_000, True)):
        budget = Budget(_limits(month_bytes=100_000), (), Spent().plus(used, _NOON))
        assert (2 in budget.shut(3, _NOON)) == budget.is_for_first(_NOON) == is_over


def test_a_new_life_goes_on_counting_and_a_new_day_begins_at_nothing() -> None:
    """What was stored counts until the hour, the day, the month is over."""
    budget = Budget(_limits(hour_bytes=5000, day_bytes=9000), (), Spent().plus(4000, _NOON))
    budget.look(1000, _NOON)
    assert budget.left == 0
    assert set(budget.shut(3, _NOON)) == {0, 1, 2}
    budget.look(1000, _NOON + dt.timedelta(hours=1))
    assert budget.left == 4000
    budget.look(1000, _NOON + dt.timedelta(days=1))
    assert budget.left == 5000


def test_the_first_lane_has_the_end_of_a_budget_for_itself() -> None:
    """Behind 95 % alarms still go, the others wait."""
    budget = Budget(_limits(month_bytes=100_000), (), Spent().plus(96_000, _NOON))
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
        assert Budget(_limits(**limits), (), spent).shut(2, december)[0] == Shut("budget", until)
    spent = Spent().plus(10_000, _NOON)
    budget = Budget(_limits(hour_bytes=2000, day_bytes=3000), ("06:00-07:00",), spent)
    tomorrow = _NOON.replace(day=22, hour=0, minute=0)
    assert budget.shut(2, _NOON) == {0: Shut("budget", tomorrow), 1: Shut("hours", tomorrow.replace(hour=6))}


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    """A box that starts in 1970, and a clock that is set back an hour, a day or a month, find what was spent."""
    limits = _limits(hour_bytes=10_000, day_bytes=20_000, month_bytes=30_000)
    starts = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    for wrong in (starts, *(_NOON - dt.timedelta(hours=hours) for hours in (1, 24, 24 * 40))):
        spent = Spent().plus(9000, _NOON)
        budget = Budget(limits, (), spent)
        budget.look(0, wrong)
        assert budget.left == 1000
        budget.look(600, wrong)
        assert budget.left == 400
        later = Budget(limits, (), budget.spent)
        later.look(0, _NOON)
        assert later.left == 400
        later.look(0, _NOON + dt.timedelta(hours=1))
        assert later.left == 10_000


def test_a_clock_that_was_years_ahead_once_ends_no_link() -> None:
    """What it stored lies so far away that it is forgotten, by whoever knows better."""
    budget = Budget(_limits(day_bytes=10_000), (), Spent().plus(10_000, _NOON.replace(year=2080)))
    budget.look(0, _NOON)
    assert budget.left == 10_000
