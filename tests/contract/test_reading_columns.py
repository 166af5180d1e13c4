"""Many payloads at once mean what each means alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract import reading
from headwater.contract.errors import BadInput
from headwater.contract.reading_columns import decode_all

VALUES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.just(2e15), st.integers(-9, 9))
GOOD = st.builds(
    reading.encode,
    st.integers(-5, 10**15),
    st.dictionaries(st.sampled_from(["flow", "current", "p"]), VALUES, max_size=3),
)
BAD = st.sampled_from(
    [None, b"", b"not json", b'{"v":2,"t":1,"values":{"flow":1}}', b'{"t":1,"values":{"flow":"x"}}', b'{"t":"1"}']
)


@given(st.lists(st.one_of(GOOD, GOOD, BAD), max_size=12))
def test_the_answer_is_that_of_one_by_one(payloads: list[bytes | None]) -> None:
    """The same payloads are readings, with the same times and values; a missing one is NaN."""
    found = decode_all(payloads)
    expected = {}
    for row, payload in enumerate(payloads):
        try:
            expected[row] = reading.decode(payload or b"")
        except BadInput:
            continue
    assert found.rows.tolist() == list(expected)
    for place, one in enumerate(expected.values()):
        assert found.t[place] == one.t
        for channel, value in zip(found.channels, found.values[place].tolist(), strict=True):
            wanted = one.values.get(channel)
            assert math.isnan(value) if wanted is None else value == wanted
    assert {channel for one in expected.values() for channel in one.values} == set(found.channels)


def test_names_that_never_repeat_are_refused() -> None:
    """A publisher that puts a counter into the channel's name cannot fill the memory."""
    with pytest.raises(BadInput, match="more than 1000 channels"):
        decode_all([reading.encode(1, {f"flow-{n}": 1.0}) for n in range(1001)])


def test_a_payload_that_is_too_large_is_no_reading() -> None:
    """Also where it would be one but for its size."""
    long = b'{"v":1,"t":1,"values":{"flow":1' + b"0" * reading.MAX_PAYLOAD_BYTES + b"}}"
    assert np.array_equal(decode_all([long, reading.encode(1, {"flow": 1.0})]).rows, [1])
