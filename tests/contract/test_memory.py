"""Features with memory: the same bits at the edge and in the trainer, through kills, and refused where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from headwater.contract.errors import BadInput
from headwater.contract.memory import Memory, MemorySpec, Regime

RNG = np.random.default_rng(4)
LANES, CYCLES, SENSORS, LATENTS = 7, 130, 5, 2


def spec(*, is_lifelong: bool = True) -> MemorySpec:
    """Two regimes, told apart by one setting."""
    regimes = [
        Regime(
            (float(number),),
            tuple(RNG.normal(size=SENSORS)),
            tuple(RNG.uniform(1, 2, SENSORS)),
            tuple(tuple(row) for row in RNG.normal(size=(SENSORS, LATENTS))),
        )
        for number in range(2)
    ]
    return MemorySpec(("load",), tuple("abcde"), (1.0,), tuple(regimes), is_lifelong=is_lifelong)


def readings() -> list[tuple[np.ndarray, np.ndarray]]:
    """By cycle the settings and sensors of all lanes."""
    return [(RNG.integers(0, 2, (LANES, 1)) + 0.1, RNG.normal(size=(LANES, SENSORS)) * 3) for _ in range(CYCLES)]


def with_gaps(seen: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same, with sensors missing in every third cycle, and all of them in every fifth."""
    for number, (_, sensors) in enumerate(seen):
        sensors[:, :2][number % 3 == 0] = np.nan
        sensors[number % 5 == 0] = np.nan
    return seen


@pytest.mark.parametrize("is_lifelong", [True, False])
def test_one_asset_alone_gets_the_bits_of_many_side_by_side(is_lifelong: bool) -> None:
    """What the trainer computes for a fleet is what the edge computes for one, to the last bit."""
    of = spec(is_lifelong=is_lifelong)
    fleet, alone = Memory(of, LANES), [Memory(of) for _ in range(LANES)]
    for settings, sensors in readings():
        together = fleet.step(settings, sensors)
        assert together.shape == (LANES, len(of.names))
        for lane, one in enumerate(alone):
            assert one.step(settings[lane : lane + 1], sensors[lane : lane + 1]).tobytes() == together[lane].tobytes()


@pytest.mark.parametrize("has_gaps", [True, False])
@pytest.mark.parametrize("is_lifelong", [True, False])
def test_a_lane_that_is_filled_goes_on_with_the_same_bits(is_lifelong: bool, has_gaps: bool) -> None:
    """After any number of cycles the first and the last readings are enough; another number of them is refused."""
    of, seen = structs.replace(spec(is_lifelong=is_lifelong), means=(1, 7), baselines=(3, 12)), readings()
    seen = with_gaps(seen) if has_gaps else seen
    first = Memory(of)
    for number, (settings, sensors) in enumerate(seen):
        second = Memory(of, 2)
        second.step(*(each[:2] for each in seen[0]))
        ends = [seen[: min(number, of.kept[0])], seen[number - min(number, of.kept[1]) : number]]
        rows = [(np.array([r[0][0] for r in e]).reshape(-1, 1), np.array([r[1][0] for r in e])) for e in ends]
        rows = [(a, b.reshape(-1, SENSORS)) for a, b in rows]
        second.fill(number, rows[0], rows[1])
        says = first.step(settings[:1], sensors[:1])
        assert second.step(settings[:1], sensors[:1]).tobytes() == says.tobytes()
    with pytest.raises(BadInput):
        second.fill(1, rows[0], rows[1])
    with pytest.raises(BadInput):
        second.fill(-1, rows[0], rows[1])


def test_the_names_say_what_the_numbers_are() -> None:
    """Means, slope, first means and age of a sensor that climbs by one a cycle are what their names promise."""
    of = structs.replace(
        spec(),
        regimes=(Regime((0.0,), (0.0,), (1.0,), ((1.0,),)),),
        sensors=("a",),
        clip=1e9,
        baselines=(3,),
        means=(1, 4),
    )
    memory = Memory(of)
    for cycle in range(1, 11):
        says = memory.step(np.zeros((1, 1)), np.array([[float(cycle)]]))
    found = dict(zip(of.names, says[0].tolist(), strict=True))
    assert found == pytest.approx(
        {
            "mean1.0": 10,
            "mean4.0": 8.5,
            "slope4.0": 10,
            "first3.0": 2,
            "age": 0.1,
            "log_age": np.log(0.1),
            "settled3": 1,
        }
    )


def test_a_regime_counts_by_its_heed() -> None:
    """Means and slope are those of weighted least squares; a heed of three is worth three cycles of one."""
    one = Regime((0.0,), (0.0,), (1.0,), ((1.0,),))
    regimes = (one, structs.replace(one, centre=(1.0,), heed=(3.0,)))
    of = structs.replace(spec(), regimes=regimes, sensors=("a",), clip=1e9, baselines=(8,), means=(2, 6))
    memory, values = Memory(of), RNG.normal(size=10)
    for cycle, value in enumerate(values):
        says = memory.step(np.array([[float(cycle % 2)]]), np.array([[value]]))
    found = dict(zip(of.names, says[0].tolist(), strict=True))
    heed = np.where(np.arange(10) % 2, 3.0, 1.0)
    slope = np.polyfit(np.arange(6), values[-6:], 1, w=np.sqrt(heed[-6:]))[0]
    assert found["mean2.0"] == pytest.approx(np.average(values[-2:], weights=heed[-2:]), rel=1e-6)
    assert found["mean6.0"] == pytest.approx(np.average(values[-6:], weights=heed[-6:]), rel=1e-6)
    assert found["slope6.0"] == pytest.approx(10 * slope, rel=1e-6)
    assert found["first8.0"] == pytest.approx(np.average(values[:8], weights=heed[:8]), rel=1e-6)


def test_what_is_wild_is_cut() -> None:
    """A sensor beyond all bounds says no more than the clip allows."""
    of = spec()
    wild, cut = np.array([of.regimes[0].mean]), np.array([of.regimes[0].mean])
    wild[0, 2] = 1e300
    cut[0, 2] += of.clip * of.regimes[0].scale[2]
    assert np.allclose(Memory(of).step(np.zeros((1, 1)), wild), Memory(of).step(np.zeros((1, 1)), cut))


def one_latent(weights: tuple[float, ...], **more: object) -> MemorySpec:
    """One regime, in which the only latent is the sum of the sensors by these weights."""
    count = len(weights)
    regime = Regime((0.0,), (0.0,) * count, (1.0,) * count, tuple((weight,) for weight in weights))
    given = {"regimes": (regime,), "sensors": tuple("abcde"[:count]), "clip": 1e9, "baselines": (3, 5), "means": (1, 4)}
    return structs.replace(spec(), **(given | more))


def lived(of: MemorySpec, rows: list[list[float]]) -> list[dict[str, float]]:
    """The features of one asset by name, a cycle at a time."""
    memory = Memory(of)
    says = [memory.step(np.zeros((1, 1)), np.array([row])) for row in rows]
    return [dict(zip(of.names, each[0].tolist(), strict=True)) for each in says]


def test_a_cycle_without_any_sensor_is_one_of_age_and_of_nothing_else() -> None:
    """Means, slope and frozen means are those of the other cycles at their places; the age counts it."""
    values = [np.nan, 5.0, np.nan, 3.0, 8.0, 1.0, np.nan, np.nan, np.nan, np.nan]
    found = lived(one_latent((1.0,)), [[value] for value in values])
    assert [each["age"] for each in found] == pytest.approx([n / 100 for n in range(1, 11)])
    assert [each["mean1.0"] for each in found] == [0, 5, 5, 3, 8, 1, 4, 4.5, 1, 0]
    assert [each["mean4.0"] for each in found] == pytest.approx([0, 5, 5, 4, 16 / 3, 4, 4, 4.5, 1, 0])
    assert [each["first3.0"] for each in found] == [0, *[5] * 9]
    assert [each["first5.0"] for each in found] == pytest.approx([0, 5, 5, 4, *[16 / 3] * 6])
    for number, each in enumerate(found):
        last = np.array(values[max(0, number - 3) : number + 1])
        at = np.flatnonzero(np.isfinite(last))
        slope = np.polyfit(at, last[at], 1)[0] if len(at) > 1 else 0.0
        assert each["slope4.0"] == pytest.approx(10 * slope)


def test_a_first_mean_without_a_cycle_is_the_next_longer_one() -> None:
    """As long as that has none either it is zero, the mean of the regime; it is frozen as soon as both are."""
    found = lived(one_latent((1.0,)), [[value] for value in (np.nan, np.nan, np.nan, 6.0, 2.0, 9.0)])
    assert [each["first3.0"] for each in found] == [0, 0, 0, 6, 4, 4]
    assert [each["first5.0"] for each in found] == [0, 0, 0, 6, 4, 4]


def test_a_missing_sensor_takes_its_share_of_the_heed() -> None:
    """The others speak for it by the weights of the map, and the cycle counts by the share that they have."""
    of = one_latent((3.0, -1.0))
    complete, first, second = [2.0, -2.0], [np.nan, -2.0], [2.0, np.nan]
    assert lived(of, [complete])[0]["mean1.0"] == 8
    assert lived(of, [first])[0]["mean1.0"] == 8
    assert lived(of, [second])[0]["mean1.0"] == 8
    found = lived(of, [complete, [np.nan, 1.0], [0.0, 0.0]])[-1]
    assert found["mean4.0"] == pytest.approx((8 + 0.25 * -4 + 0) / 2.25)
    assert found["first3.0"] == pytest.approx((8 + 0.25 * -4 + 0) / 2.25)
    nothing = lived(one_latent((3.0, 0.0)), [complete, [np.nan, 7.0]])[-1]
    assert nothing["mean1.0"] == nothing["mean4.0"] == 6


@pytest.mark.parametrize("is_lifelong", [True, False])
def test_gaps_change_no_bit_of_those_who_have_none(is_lifelong: bool) -> None:
    """One asset alone has the bits of many, with gaps or beside some; all features are numbers."""
    of = spec(is_lifelong=is_lifelong)
    fleet, alone, whole = Memory(of, LANES), [Memory(of) for _ in range(LANES)], Memory(of, LANES)
    for settings, complete in readings():
        sensors = complete.copy()
        sensors[1:][RNG.random((LANES - 1, SENSORS)) < 0.3] = np.nan
        sensors[2:][RNG.random(LANES - 2) < 0.5] = np.nan
        sensors[3] = np.nan
        together = fleet.step(settings, sensors)
        assert np.isfinite(together).all()
        for lane, one in enumerate(alone):
            assert one.step(settings[lane : lane + 1], sensors[lane : lane + 1]).tobytes() == together[lane].tobytes()
        assert whole.step(settings, complete)[0].tobytes() == together[0].tobytes()


def test_after_an_overhaul_it_is_as_new() -> None:
    """Nothing of the former life is left in that lane, and everything in the others."""
    of, seen = spec(), readings()
    memory, untouched = Memory(of, LANES), Memory(of, LANES)
    for settings, sensors in seen[:50]:
        memory.step(settings, sensors)
        untouched.step(settings, sensors)
    memory.overhaul(3)
    says, others = memory.step(*seen[50]), untouched.step(*seen[50])
    fresh = Memory(of).step(seen[50][0][3:4], seen[50][1][3:4])
    assert says[3].tobytes() == fresh[0].tobytes()
    assert np.delete(says, 3, axis=0).tobytes() == np.delete(others, 3, axis=0).tobytes()


@pytest.mark.parametrize(
    "wrong",
    [
        {"v": 2},
        {"regimes": ()},
        {"means": ()},
        {"means": (0,)},
        {"baselines": (2_000,)},
        {"clip": 0.0},
        {"clip": float("nan")},
        {"setting_scale": (0.0,)},
        {"sensors": ("a", "a", "c", "d", "e")},
        {"sensors": ("a", "b", "c", "d", "load")},
        {"sensors": ("a", "b", "c", "d")},
        {"regimes": (structs.replace(spec().regimes[0], heed=(1.0, 0.0)),)},
        {"regimes": (structs.replace(spec().regimes[0], heed=(1.0,)),)},
    ],
)
def test_a_specification_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    """Before anything is computed with it."""
    with pytest.raises(BadInput):
        Memory(structs.replace(spec(), **wrong))
