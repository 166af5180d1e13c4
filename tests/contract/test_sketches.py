"""Sketches merge exactly, and show a shift."""

from __future__ import annotations

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contract import messages
from headwater.contract.errors import BadInput
from headwater.contract.sketches import EDGES, LEVEL_EDGES, OVER, Channel, Sketch, channel_of, level_bin, merged, psi


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-2000, 2000) | st.just(math.nan), min_size=1, max_size=200), st.integers(1, 7), st.randoms())
def test_parts_add_up_to_the_whole_in_any_order(values: list[float], parts: int, rng: random.Random) -> None:
    """However readings are divided and whichever order parts come in, the merged sketch is the same to the bit."""
    z = np.array(values)
    pieces = [channel_of(z[i::parts]) for i in range(parts)]
    rng.shuffle(pieces)
    whole = channel_of(z)
    assert merged(pieces) == whole
    assert whole.count + whole.missing == len(values)
    assert sum(whole.bins) == whole.count


def test_moments_are_those_of_the_values() -> None:
    """Mean and M2 differ from those of the values by no more than the unit that they are kept in."""
    z = np.random.default_rng(0).normal(0.3, 1.4, 5000)
    sketch = channel_of(z)
    assert sketch.mean == pytest.approx(z.mean(), abs=1e-3)
    assert sketch.m2 == pytest.approx(((z - z.mean()) ** 2).sum(), rel=1e-3)
    assert math.isnan(merged([]).mean)


def test_a_shift_is_told_from_chance() -> None:
    """500 readings of the same distribution stay far below the usual 0.25; half a deviation more comes near it."""
    rng = np.random.default_rng(0)
    reference = channel_of(rng.normal(0, 1, 20_000))
    still = max(psi(reference.bins, channel_of(rng.normal(0, 1, 500)).bins) for _ in range(50))
    moved = min(psi(reference.bins, channel_of(rng.normal(0.5, 1, 500)).bins) for _ in range(50))
    assert still < 0.1 < moved
    assert psi(reference.bins, channel_of(rng.normal(1, 1, 500)).bins) > 0.5
    assert psi((0, 0), (1, 2)) == 0.0


def test_a_sketch_is_a_message() -> None:
    """It is read back from its record as it was."""
    channel = channel_of(np.array([0.1, -4.0, math.nan]))
    sketch = Sketch("lyon", "pump-1", "pump", 3, 0, 5, 9, 1000, 5000, 3, {"flow": channel}, (0,) * 11)
    assert messages.decode(messages.encode(sketch), Sketch) == sketch
    assert msgspec.to_builtins(channel)["bins"][0] == 1
    assert len(channel.bins) == len(EDGES) + 1
    assert level_bin(1.0) == OVER
    assert level_bin(0.999) == OVER - 1
    assert level_bin(9.0) == len(LEVEL_EDGES)
    assert isinstance(channel + channel, Channel)


GOOD = Sketch("lyon", "p", "pump", 3, 0, 5, 9, 0, 9, 3, {"flow": channel_of(np.array([0.1, -4.0, 2000.0]))}, (0,) * 11)


@pytest.mark.parametrize(
    "wrong",
    [
        {"site": "Lyon"},
        {"asset": ""},
        {"asset_class": "pump/../fan"},
        {"last": 4},
        {"readings": 0},
        {"readings": 6},
        {"readings": 2},
        {"levels": (0,) * 10},
        {"levels": (-1,) + (0,) * 10},
        {"levels": (10**400,) + (0,) * 10},
        {"channels": {"flow": Channel(3, 0, 0, 0, (1, 1, 1))}},
        {"channels": {"flow": Channel(3, 0, 0, 0, (4, -1) + (0,) * 10)}},
        {"channels": {"flow": Channel(2, 0, 0, 0, (3,) + (0,) * 11)}},
        {"channels": {"flow": Channel(3, -1, 0, 0, (3,) + (0,) * 11)}},
        {"channels": {"flow": Channel(3, 0, 10**400, 10**900, (3,) + (0,) * 11)}},
        {"channels": {"flow": Channel(3, 0, 3000, 1, (3,) + (0,) * 11)}},
    ],
)
def test_what_cannot_be_of_readings_is_no_sketch(wrong: dict[str, object]) -> None:
    """Names, offsets, lengths, counts and sums that no readings can have are refused before anything is computed."""
    GOOD.check()
    with pytest.raises(BadInput):
        msgspec.structs.replace(GOOD, **wrong).check()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats() | st.just(0.0), min_size=1, max_size=50))
def test_every_sketch_of_readings_passes(values: list[float]) -> None:
    """Whatever the values are, what is made of them belongs together."""
    channel = channel_of(np.array(values))
    assert channel.fits
    assert merged([channel] * 3).fits
