"""Lives of assets: the same bits however they were stored, whichever map came before, wherever the log begins."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headwater.contract.arrival import Arrival
from headwater.contract.cycles import Cycles
from headwater.contract.errors import BadInput
from headwater.contract.features import FeatureSpec, Scaling, Window
from headwater.contract.memory import Memory, MemorySpec
from headwater.contract.overhaul import Came, Overhaul, Overhauled
from headwater.contract.reading import Reading, decode
from headwater.contract.windows import Cadence, Charge, Expected, Windows, expected
from tests.contract.lives import SENSORS, cycle, features, memory


def cadence(of: MemorySpec) -> Cadence:
    return Cadence.of(features(of))


def charge(version: int, since: int, of: MemorySpec, rewound_from: int = 0) -> Charge:
    return Charge("engine", version, "0" * 64, since, rewound_from, cadence(of), 0, 0, "disk")


def came(offset: int, asset: str = "p", **more: Any) -> Arrival:
    return Arrival(offset, asset, "engine", cycle(offset, **more))


def renewed(offset: int, asset: str) -> Overhauled:
    return Overhauled(offset, Overhaul(asset, offset, failed=False))


def plain(of: MemorySpec, lived: list[Arrival]) -> bytes:
    """The last vector of a life that was lived in one go, by the code of the trainer."""
    lanes = Memory(of)
    for one in lived:
        values = one.reading.values
        settings = np.array([[values[name] for name in of.settings]], np.float64)
        says = lanes.step(settings, np.array([[values[name] for name in of.sensors]], np.float64))
    return says[0].tobytes()


def vector(of: MemorySpec, window: Window) -> bytes:
    return features(of).vector("lyon/p", window.values).tobytes()


@given(st.integers(0, 1 << 32))
def test_a_life_is_the_same_over_storing_and_over_maps(seed: int) -> None:
    """Stored at any cycle, gone on with under another map: the vectors are those of a life in one go under that map."""
    rng = random.Random(seed)
    maps = [
        memory(n, means=(1, rng.randint(2, 4)), baselines=(2, rng.randint(3, 6)), is_lifelong=rng.random() < 0.7)
        for n in range(3)
    ]
    kept = replace(maps[0], means=(1, 4), baselines=(3, 6), is_lifelong=True)
    of, life, lived = kept, Cycles(kept), list[Arrival]()
    for number in range(rng.randint(1, 25)):
        lived.append(came(number, load=rng.choice((0.1, 0.9)), missing=rng.choice(("", "", "b", "all"))))
        window = life.push(number, lived[-1].reading)
        assert window is not None
        assert (window.first_offset, window.last_offset, window.cycles) == (0, number, number + 1)
        assert vector(of, window) == plain(of, lived)
        if rng.random() < 0.3:
            stored = json.loads(json.dumps(life.snapshot()))
            of = rng.choice(maps) if of is kept and rng.random() < 0.3 else of
            life = Cycles(of)
            life.restore(stored)


def test_a_sensor_beyond_all_numbers_is_a_missing_one() -> None:
    """No reading brings 1e308 to where it would overflow; the cycle is one without that sensor."""
    wild = decode(b'{"t":1,"values":{"load":0.1,"a":1e308,"b":1.0,"c":-1e308}}')
    gap = Reading(1, {"load": 0.1, "a": None, "b": 1.0, "c": None})
    found = [Cycles(memory()).push(0, each) for each in (wild, gap)]
    assert found[0] is not None
    assert found[1] is not None
    assert vector(memory(), found[0]) == vector(memory(), found[1])


def test_what_cannot_be_placed_is_no_cycle() -> None:
    """A reading without a setting is passed over; one without a sensor counts."""
    life = Cycles(memory())
    assert life.push(0, cycle(0, load=None)) is None
    window = life.push(1, cycle(1, missing="a"))
    assert window is not None
    assert (window.first_offset, window.cycles, window.life_since) == (1, 1, -1)
    assert life.push(2, Reading(5, {"a": 1.0, "b": 1.0, "c": 1.0})) is None
    assert life.cycles == 1


def test_a_life_goes_on_under_other_features_only_where_enough_of_it_was_kept() -> None:
    """Fewer sensors and shorter means are enough; another sensor, a setting more or longer ones are not."""
    life = Cycles(memory())
    for number in range(20):
        life.push(number, cycle(number))
    stored = life.snapshot()
    Cycles(memory(1, sensors=SENSORS[:2], means=(3,), baselines=(5,))).restore(stored)
    for other in (
        memory(1, sensors=(*SENSORS, "d")),
        memory(1, means=(5,)),
        memory(1, baselines=(7,)),
        replace(memory(), settings=("speed",)),
    ):
        with pytest.raises(BadInput):
            Cycles(other).restore(stored)
    for broken in ({}, {**stored, "first": [[1.0]]}, {**stored, "cycles": 2}, {**stored, "began": None}):
        with pytest.raises(BadInput):
            Cycles(memory()).restore(broken)


def test_while_a_life_is_short_all_of_it_is_kept() -> None:
    """So that longer means can begin with it too."""
    lived = [came(number) for number in range(10)]
    life, longer = Cycles(memory()), memory(1, means=(10,), baselines=(10,))
    for one in lived[:9]:
        life.push(one.offset, one.reading)
    after = Cycles(longer)
    after.restore(life.snapshot())
    window = after.push(9, lived[9].reading)
    assert window is not None
    assert vector(longer, window) == plain(longer, lived)


def told(arrivals: list[Came], swaps: list[Charge]) -> list[Expected]:
    return list(expected(arrivals, swaps))


def test_a_swap_fills_lives_from_their_overhauls_and_says_where_none_is_known() -> None:
    """One was overhauled within reach, one was not, one has not run since its overhaul: each is told for what it is."""
    log: list[Came] = [came(0), came(1, "q"), came(2), renewed(3, "p"), came(4), came(5, "q"), renewed(6, "r")]
    log += [came(7), came(8, "q"), came(9, "r")]
    found = {each.asset: each.window for each in told(log, [charge(1, 7, memory(), rewound_from=1)])}
    assert [(w.first_offset, w.cycles, w.life_since) for w in found.values()] == [(4, 2, 3), (1, 3, -1), (9, 1, 6)]
    assert vector(memory(), found["p"]) == plain(memory(), [came(4), came(7)])


def test_an_overhaul_is_the_end_of_a_life() -> None:
    """The cycle behind it is the first of the next; windows of classes without lives go on over it."""
    log: list[Came] = [came(0), came(1), renewed(2, "p"), came(3)]
    last = told(log, [charge(1, 0, memory())])[-1].window
    assert (last.first_offset, last.cycles, last.life_since) == (3, 1, 2)
    sliding = FeatureSpec(("a",), 3, 1, {"": Scaling((0.0,), (1.0,))}, max_gap_s=1e9)
    swaps = [Charge("engine", 1, "0" * 64, 0, 0, Cadence.of(sliding), 0, 0, "disk")]
    assert [each.window.first_offset for each in told(log, swaps)] == [0]


def test_an_asset_that_comes_back_to_a_class_has_a_life_of_which_the_begin_is_not_known() -> None:
    """Also where an overhaul lies before its time in the other class."""
    other = Arrival(3, "p", "fan", cycle(3))
    log: list[Came] = [renewed(0, "p"), came(1), renewed(2, "p"), other, came(4)]
    live = told(log, [charge(1, 0, memory())])
    filled = told([*log, came(5)], [charge(1, 5, memory())])
    assert [(e.window.cycles, e.window.life_since) for e in live] == [(1, 0), (1, -1)]
    assert [(e.window.cycles, e.window.life_since) for e in filled] == [(2, -1)]


@given(st.integers(0, 1 << 32))
def test_a_swap_to_another_map_changes_no_life_wherever_the_log_begins(seed: int) -> None:
    """Lives after two swaps are those under the last map since the overhaul; nothing is read again for it."""
    rng = random.Random(seed)
    log: list[Came] = [renewed(0, "p"), renewed(1, "q")]
    lived: dict[str, list[Arrival]] = {"p": [], "q": []}
    for number in range(2, 60):
        asset = rng.choice("pq")
        if rng.random() < 0.03:
            log.append(renewed(number, asset))
            lived[asset] = []
        else:
            log.append(came(number, asset))
            lived[asset].append(log[-1])  # type: ignore[arg-type]  # it is an Arrival
    last = memory(7)
    second = rng.randrange(2, 50)
    swaps = [charge(1, 0, memory(3)), charge(2, second, last, rewound_from=second)]
    for asset in "pq":
        mine = [each for each in told(log, swaps) if each.asset == asset]
        if mine and mine[-1].charge.version == 2 and lived[asset]:
            assert vector(last, mine[-1].window) == plain(last, lived[asset])


def test_a_life_of_which_readings_were_lost_is_not_known_any_more() -> None:
    """It goes on, and says that it is older than it looks; so does one that was to begin."""
    windows = Windows()
    windows.swap("engine", cadence(memory()), [])
    windows.overhaul("p", 0)
    first = windows.push(came(1))
    windows.overhaul("q", 2)
    assert windows.lose() == ["p", "q"]
    assert windows.renewed == {}
    after = [windows.push(came(9)), windows.push(came(10, "q"))]
    assert first is not None
    assert (first.cycles, first.life_since) == (1, 0)
    assert [(w.cycles, w.life_since) for w in after if w] == [(2, -1), (1, -1)]


def test_windows_say_whether_lives_can_go_on() -> None:
    """Not before there is one, not to other channels, and not to a sliding window."""
    windows, first = Windows(), cadence(memory())
    assert not windows.can_go_on("engine", first)
    windows.swap("engine", first, [])
    windows.push(came(0))
    assert windows.can_go_on("engine", cadence(memory(1)))
    assert not windows.can_go_on("engine", cadence(memory(1, sensors=(*SENSORS, "d"))))
    assert not windows.can_go_on("engine", Cadence(("a",), 3, 1, 30.0, 2))
    assert windows.swap("engine", cadence(memory(1, sensors=(*SENSORS, "d"))), []) == ["p"]
    assert windows.snapshot("p") is None
