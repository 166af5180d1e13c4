"""Feature vectors and windows."""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput
from headwater.contract.features import FeatureSpec, Scaling, Windower, vector
from headwater.contract.reading import Reading

CHANNELS = ("flow", "current")


def spec(window: int = 5, step: int = 2, **more: object) -> FeatureSpec:
    return FeatureSpec(CHANNELS, window, step, {"": Scaling((0.0, 1.0), (1.0, 2.0))}, **more)  # type: ignore[arg-type]  # of the types that the fields have


def reading(i: int, flow: float | None = None, *, t: int | None = None) -> Reading:
    return Reading(i * 1000 if t is None else t, {"flow": float(i) if flow is None else flow, "current": i * 0.5})


def windows(windower: Windower, readings: list[tuple[int, Reading]]) -> list[tuple[int, int]]:
    found = [windower.push(offset, one) for offset, one in readings]
    return [(w.first_offset, w.last_offset) for w in found if w]


def test_windows_follow_every_step_once_the_first_is_full() -> None:
    """The first window comes with the window-th reading, later ones every `step` readings."""
    assert windows(Windower(spec()), [(i * 3, reading(i)) for i in range(10)]) == [(0, 12), (6, 18), (12, 24)]


def test_a_jump_in_sensor_time_starts_the_window_anew() -> None:
    """Readings from before and after a gap never share a window."""
    late = [(i, reading(i, t=i * 1000 + (100_000 if i >= 3 else 0))) for i in range(9)]

    assert windows(Windower(spec()), late) == [(3, 7)]


def test_a_missing_value_is_held_for_a_while_only() -> None:
    """A gap of `hold` readings keeps the last value; a longer one starts the window anew."""
    gap = Reading(0, {"current": 1.0})

    def rows(length: int) -> list[tuple[int, Reading]]:
        return [(i, Reading(i * 1000, gap.values) if 2 <= i < 2 + length else reading(i)) for i in range(12)]

    held = Windower(spec(hold=2))
    values = [w.values[:, 0].tolist() for offset, one in rows(2) if (w := held.push(offset, one))]
    assert values[0] == [0.0, 1.0, 1.0, 1.0, 4.0]
    assert windows(Windower(spec(hold=2)), rows(3))[0] == (5, 9)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 59))
def test_a_restored_window_goes_on_as_if_nothing_had_happened(kinds: list[int], cut: int) -> None:
    """Snapshot and restore through JSON at any point leave every later window the same to the bit."""
    stream, t = [], 0
    for i, kind in enumerate(kinds):
        t += 50_000 if kind == 3 else 1000
        values = {"flow": None if kind == 1 else i / 3, "current": i * 0.1}
        stream.append((i, Reading(t, values)))
    whole, first = Windower(spec()), Windower(spec())
    expected = [w for o, r in stream if (w := whole.push(o, r))]
    got = [w for o, r in stream[:cut] if (w := first.push(o, r))]
    second = Windower(spec())
    second.restore(json.loads(json.dumps(first.snapshot())))
    got += [w for o, r in stream[cut:] if (w := second.push(o, r))]

    assert [(w[:4], w.values.tobytes()) for w in got] == [(w[:4], w.values.tobytes()) for w in expected]


@given(st.integers(0, 2**32 - 1))
def test_a_vector_does_not_depend_on_memory_layout(seed: int) -> None:
    """The same numbers in Fortran and in C order give the same bits."""
    values = np.random.default_rng(seed).normal(size=(20, 2))
    scaling = Scaling((0.1, 0.2), (1.5, 0.7))

    assert vector(scaling, values).tobytes() == vector(scaling, np.asfortranarray(values)).tobytes()


def test_a_layout_of_whole_windows_is_the_scaled_readings_one_after_the_other() -> None:
    """Models that look at the order of readings get each of them, named by channel and number, the oldest first."""
    whole = spec(layout="window")
    values = np.arange(10.0).reshape(5, 2)

    assert whole.vector("lyon/pump-1", values).tolist() == [0, 0, 2, 1, 4, 2, 6, 3, 8, 4]
    assert whole.vector("", np.asfortranarray(values)).dtype == np.float32
    assert (whole.width, whole.names[:3]) == (10, ("flow.0", "current.0", "flow.1"))
    assert spec().vector("", values).tobytes() == vector(spec().scaling[""], values).tobytes()
    assert spec().width == 4


def test_a_specification_without_a_layout_keeps_its_bytes() -> None:
    """What was written before there was a choice reads as it did; the new field is in JSON only where it is used."""
    assert b"layout" not in canonical_json(spec())
    assert msgspec.json.decode(canonical_json(spec()), type=FeatureSpec) == spec()
    whole = spec(layout="window")
    assert msgspec.json.decode(canonical_json(whole), type=FeatureSpec) == whole
    assert whole.digest() != spec().digest()


def test_a_frozen_sensor_stands_out() -> None:
    """A channel without spread has a spread feature far below that of noise."""
    noisy = np.random.default_rng(1).normal(size=(20, 2))
    frozen = noisy.copy()
    frozen[:, 0] = 0.3
    scaling = Scaling((0.0, 0.0), (1.0, 1.0))

    assert vector(scaling, frozen)[2] < vector(scaling, noisy)[2] - 3


@pytest.mark.parametrize(
    "broken",
    [
        FeatureSpec(CHANNELS, 1, 1, {"": Scaling((0, 0), (1, 1))}),
        FeatureSpec(CHANNELS, 5, 6, {"": Scaling((0, 0), (1, 1))}),
        FeatureSpec(("a", "a"), 5, 1, {"": Scaling((0, 0), (1, 1))}),
        FeatureSpec(CHANNELS, 5, 1, {}),
        FeatureSpec(CHANNELS, 5, 1, {"": Scaling((0, 0), (1, 0))}),
        FeatureSpec(CHANNELS, 5, 1, {"": Scaling((0,), (1,))}),
        FeatureSpec(CHANNELS, 5, 1, {"": Scaling((0, 0), (1, 1))}, v=2),
        FeatureSpec(CHANNELS, 2049, 1, {"": Scaling((0, 0), (1, 1))}, layout="window"),
    ],
)
def test_a_specification_that_cannot_be_computed_is_refused(broken: FeatureSpec) -> None:
    """Nothing is scored with features that this agent does not know."""
    with pytest.raises(BadInput):
        broken.check()


def test_the_digest_of_a_specification_is_pinned() -> None:
    """A change of the canonical form would orphan every model in the field."""
    assert spec().digest() == "4b3eac602e1553b6246c658f11aee6008425636025ad7219d8cf8d7dba6b1ca5"


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        (Scaling((0.0,), (1.0, 2.0)), "does not fit 2 channels"),
        (Scaling((0.0, float("inf")), (1.0, 2.0)), "centre that is not finite"),
        (Scaling((0.0, 1.0), (1.0, float("inf"))), "scale that is not finite and positive"),
        (Scaling((0.0, 1.0), (1.0, 0.0)), "scale that is not finite and positive"),
    ],
)
def test_a_scaling_is_refused_for_what_is_wrong_with_it(scaling: Scaling, said: str) -> None:
    """Width, centre and scale each have a sentence of their own."""
    with pytest.raises(BadInput, match=said):
        FeatureSpec(CHANNELS, 5, 2, {"": scaling}).check()
