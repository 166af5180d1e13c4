"""The simulated plant: seeded, physical, and honest about when a fault can be seen."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from headwater.app.plant.simulator import AFFECTED, CHANNELS, FAULT_KINDS, Plant, Truth
from headwater.contract.errors import BadInput
from headwater.contract.reading import decode, encode

START_MS = 1_763_718_300_000
ASSET = ("lyon", "pump-2")


def plant(seed: int = 1) -> Plant:
    return Plant(seed, ["lyon", "osaka"], 3, START_MS)


def table(one: Plant, asset: tuple[str, str], count: int) -> np.ndarray:
    return np.array([[v[c] for c in CHANNELS] for _, v in itertools.islice(one.readings(*asset), count)])


def with_fault(kind: str, count: int, seed: int = 1, **more: object) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Readings with a fault from the 300th on, the same without it, and the truth."""
    failing = plant(seed)
    failing.begin_fault(*ASSET, kind, START_MS + 300_000, **more)  # type: ignore[arg-type]  # of the types that they take
    return table(failing, ASSET, count), table(plant(seed), ASSET, count), failing.truths()[0]


def test_a_seed_gives_the_same_readings() -> None:
    """Twice the same; another seed, pump or site gives others."""
    assert np.array_equal(table(plant(), ASSET, 200), table(plant(), ASSET, 200))
    others = [
        table(plant(2), ASSET, 200),
        table(plant(), ("lyon", "pump-1"), 200),
        table(plant(), ("osaka", "pump-2"), 200),
    ]
    assert all(not np.array_equal(table(plant(), ASSET, 200), other) for other in others)


def test_pumps_do_not_depend_on_the_order_in_which_they_are_read() -> None:
    """Drawing from other pumps in between changes nothing."""
    mixed = plant()
    mine, other = mixed.readings(*ASSET), mixed.readings("osaka", "pump-1")
    rows = []
    for _ in range(100):
        rows.append(next(mine)[1])
        next(other)
    assert [[row[c] for c in CHANNELS] for row in rows] == table(plant(), ASSET, 100).tolist()


def test_readings_are_one_a_second_and_survive_the_payload() -> None:
    """Sensor time advances by 1,000 ms; what is published reads back to the same numbers."""
    rows = list(itertools.islice(plant().readings(*ASSET), 50))
    assert [t for t, _ in rows] == [START_MS + 1000 * i for i in range(50)]
    for t, values in rows:
        assert decode(encode(t, values)).values == values


def test_a_healthy_pump_behaves_like_one() -> None:
    """Values stay in a pump's range; the load moves flow, head and current together; temperatures lag behind."""
    values = dict(zip(CHANNELS, table(plant(), ASSET, 3600).T, strict=True))
    assert 15 < values["flow"].min() < values["flow"].max() < 60
    assert (values["outlet_pressure"] > values["inlet_pressure"] + 1).all()
    head = values["outlet_pressure"] - values["inlet_pressure"]
    assert np.corrcoef(values["flow"], head)[0, 1] > 0.9
    assert np.corrcoef(values["flow"], values["motor_current"])[0, 1] > 0.9
    steps = np.abs(np.diff(values["flow"][::30])) > 1.0
    assert 20 < steps.sum() < 100  # changes of load, some every two minutes
    assert np.abs(np.diff(values["bearing_temperature"])).max() < 1.0


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_a_fault_changes_its_channels_and_nothing_before_its_onset(kind: str) -> None:
    """Before the onset, and in the other channels, readings are those of the healthy twin, bit for bit."""
    faulty, healthy, truth = with_fault(kind, 900)
    assert truth.onset == START_MS + 300_000
    assert np.array_equal(faulty[:300], healthy[:300])
    changed = {c for i, c in enumerate(CHANNELS) if not np.array_equal(faulty[300:, i], healthy[300:, i])}
    assert set(truth.channels) <= changed
    if kind == "stuck-sensor":
        assert changed == set(truth.channels)
        assert len(set(faulty[300:, CHANNELS.index(truth.channels[0])])) == 1
    else:
        assert truth.channels == AFFECTED[kind]


@pytest.mark.parametrize("kind", ["cavitation", "bearing-wear", "blocked-valve"])
def test_visible_is_when_the_effect_leaves_the_noise(kind: str) -> None:
    """Not at the onset, but while the fault grows; after it the mean effect on a channel exceeds 3 sd of its noise."""
    faulty, healthy, truth = with_fault(kind, 900)
    assert truth.visible is not None
    assert truth.onset is not None
    assert truth.onset < truth.visible < truth.onset + truth.growth_s * 1000
    at = (truth.visible - START_MS) // 1000
    noise = np.diff(healthy, axis=0)[:250].std(axis=0) / np.sqrt(2)
    effect = np.abs((faulty - healthy)[at + 5 : at + 35].mean(axis=0)) / noise
    assert effect[[CHANNELS.index(c) for c in truth.channels]].max() > 2.5


def test_a_fault_grows() -> None:
    """The effect at a tenth of the growth time is small against the effect at its end, which then stays."""
    faulty, healthy, _ = with_fault("bearing-wear", 900)
    effect = (faulty - healthy)[:, CHANNELS.index("acceleration_1")]
    assert effect[315:330].mean() < 0.25 * effect[560:700].mean()
    assert effect[700:900].mean() > 0.7 * effect[560:700].mean()


def test_a_fault_in_the_past_begins_now() -> None:
    """What was drawn already stays; the onset is the next reading."""
    one = plant()
    readings = one.readings(*ASSET)
    drawn = list(itertools.islice(readings, 100))
    one.begin_fault(*ASSET, "blocked-valve", START_MS)
    assert one.truths()[0].onset is None
    assert next(readings)[0] == one.truths()[0].onset == drawn[-1][0] + 1000


def test_a_sensor_can_be_chosen_to_be_stuck() -> None:
    """The channel that is named stands still at its last value."""
    faulty, healthy, truth = with_fault("stuck-sensor", 400, channel="flow")
    assert truth.channels == ("flow",)
    assert set(faulty[300:, 0]) == {healthy[299, 0]}


@pytest.mark.parametrize(
    ("asset", "kind", "channel"),
    [
        (("lyon", "pump-9"), "cavitation", ""),
        (("paris", "pump-1"), "cavitation", ""),
        (ASSET, "rust", ""),
        (ASSET, "stuck-sensor", "voltage"),
        (ASSET, "cavitation", "flow"),
    ],
)
def test_what_does_not_exist_is_told(asset: tuple[str, str], kind: str, channel: str) -> None:
    """A pump, fault or channel that is not there is refused when it is asked for."""
    with pytest.raises(BadInput):
        plant().begin_fault(*asset, kind, 0, channel=channel)  # type: ignore[arg-type]  # of the types that they take


def test_readings_are_cheap() -> None:
    """12 pumps at 60 times real time must cost little: far less than 100 µs a reading even on a busy machine."""
    one = plant()
    one.begin_fault(*ASSET, "cavitation", START_MS)
    readings = one.readings(*ASSET)
    started = time.process_time()
    for _ in range(5000):
        next(readings)
    assert (time.process_time() - started) / 5000 < 100e-6
