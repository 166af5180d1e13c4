"""Which windows must be scored: the rules of headwater/contract/windows.py, by example and by property."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.arrival import Arrival
from headwater.contract.reading import Reading
from headwater.contract.windows import Cadence, Charge, expected


def cadence(window: int, step: int, channels: tuple[str, ...] = ("a",)) -> Cadence:
    return Cadence(channels, window, step, max_gap_s=30.0, hold=2)


def swap(version: int, since: int, cut: Cadence, rewound_from: int = 0, asset_class: str = "pump") -> Charge:
    return Charge(asset_class, version, "0" * 64, since, rewound_from, cut, 0, 0, "disk")


def came(offset: int, asset: str = "p", asset_class: str = "pump", value: float | None = 1.0) -> Arrival:
    return Arrival(offset, asset, asset_class, Reading(1000 * offset, {"a": value}))


def spans(arrivals: list[Arrival], swaps: list[Charge]) -> list[tuple[str, int, int, int]]:
    found = expected(arrivals, swaps)
    return [(each.asset, each.window.first_offset, each.window.last_offset, each.charge.version) for each in found]


def test_nothing_is_scored_before_the_first_swap_and_nothing_waits_after_it() -> None:
    """The first reading at or after a swap completes a window, filled from before."""
    found = spans([came(n) for n in range(10)], [swap(1, 5, cadence(4, 2))])

    assert found == [("p", 2, 5, 1), ("p", 4, 7, 1), ("p", 6, 9, 1)]


def test_windows_go_on_across_a_swap_of_equal_cadence() -> None:
    """A version that cuts windows alike takes over between two windows without moving them."""
    alike = cadence(4, 3)
    found = spans([came(n) for n in range(12)], [swap(1, 0, alike), swap(2, 8, alike, rewound_from=8)])

    assert found == [("p", 0, 3, 1), ("p", 3, 6, 1), ("p", 6, 9, 2)]


def test_windows_of_another_length_are_filled_from_before_the_swap() -> None:
    """No reading is lost to a change of window; what lies before `rewound_from` is not used."""
    swaps = [swap(1, 0, cadence(3, 3)), swap(2, 6, cadence(5, 1), rewound_from=3)]

    assert spans([came(n) for n in range(9)], swaps) == [("p", 0, 2, 1), ("p", 3, 5, 1), ("p", 3, 7, 2), ("p", 4, 8, 2)]


def test_an_asset_that_changes_its_class_starts_anew() -> None:
    """No window spans two classes, also where the other class has no model."""
    arrivals = [came(0), came(1), came(2, asset_class="fan"), came(3), came(4), came(5)]

    assert spans(arrivals, [swap(1, 0, cadence(3, 1))]) == [("p", 3, 5, 1)]


@given(st.integers(0, 1 << 32))
def test_expectation_of_a_tail_is_the_tail_of_the_expectation(seed: int) -> None:
    """From any swap that restarts windows on, only readings from `rewound_from` on matter: the log may be cut there."""
    rng = random.Random(seed)
    arrivals = [came(n, rng.choice("pq"), rng.choice(("pump", "pump", "pump", "fan"))) for n in range(80)]
    start = rng.randrange(0, 40)
    since = rng.randrange(start, 60)
    swaps = [swap(1, 0, cadence(3, 2)), swap(2, since, cadence(rng.randint(2, 9), 1), rewound_from=start)]
    whole = [each for each in spans(arrivals, swaps) if each[3] == 2]

    assert whole == spans(arrivals[start:], swaps[1:])
