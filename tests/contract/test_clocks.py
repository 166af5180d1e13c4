"""Clocks of sensors are estimated from readings, and none can hold anything up."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.clocks import MOST_ASSETS, SPAN_MS, ClockRecord, Clocks, decode_clock
from headwater.contract.features import FeatureSpec, Windower
from headwater.contract.reading import MAX_TIME_MS, Reading

NOW = 1_763_718_300_000


@given(st.integers(-(10**10), 10**10), st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_the_smallest_distance_is_the_estimate(behind_ms: int, delays: list[int]) -> None:
    """Delay only ever adds: the estimate is the offset plus the smallest delay."""
    clocks = Clocks()
    for number, delay in enumerate(delays):
        sent = NOW + number * 10
        clocks.observe("p1", sent - behind_ms, sent + delay)

    assert clocks.skews()["p1"] == (behind_ms + min(delays), len(delays))


def test_a_clock_that_was_set_is_seen_within_two_spans() -> None:
    """What a clock was like before it was set is forgotten."""
    clocks, chance = Clocks(), random.Random(1)
    for second in range(600):
        behind = 0 if second < 300 else 40_000
        clocks.observe("p1", NOW + second * 1000 - behind, NOW + second * 1000 + chance.randint(1, 50))
        if second == 300 + 2 * SPAN_MS // 1000:
            assert 40_000 < clocks.skews()["p1"].skew_ms < 40_050


def test_what_moved_is_told_once() -> None:
    """An estimate is told when it is new, when it moves by a second, and once an hour."""
    clocks = Clocks()
    clocks.observe("p1", NOW, NOW + 5)
    assert clocks.news(NOW) == [ClockRecord("p1", 5, 1, NOW)]
    clocks.observe("p1", NOW + 10, NOW + 12)
    assert clocks.news(NOW + 1000) == []
    clocks.observe("p1", NOW + 5000, NOW + 20)
    (told,) = clocks.news(NOW + 2000)
    assert told.skew_ms == -4980
    assert decode_clock(told.encode()) == told
    assert [each.asset for each in clocks.news(NOW + 2000 + 3_600_000)] == ["p1"]


def test_assets_that_are_made_up_cost_no_memory() -> None:
    """The number of estimates is bounded, and what is left out is counted."""
    clocks = Clocks()
    for number in range(MOST_ASSETS + 7):
        clocks.observe(f"p{number}", NOW, NOW)

    assert (len(clocks.skews()), clocks.unseen) == (MOST_ASSETS, 7)


def test_a_clock_in_the_future_freezes_nothing() -> None:
    """A reading from the year 9999 costs the window it falls into; the next ones are complete as before."""
    windower = Windower(FeatureSpec(channels=("flow",), window=5, step=5, scaling={}))
    windows = 0
    for number in range(40):
        t = MAX_TIME_MS if number == 7 else NOW + number * 1000
        windows += windower.push(number, Reading(t, {"flow": 1.0})) is not None

    assert windows == 7
