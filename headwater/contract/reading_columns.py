"""Many payloads of readings at once, as columns: what `reading.decode` answers for each, without an object a value."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.contract import reading
from headwater.contract.errors import BadInput
from headwater.contract.reading import MAX_PAYLOAD_BYTES, MAX_TIME_MS, MAX_VALUE, Reading

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MOST_CHANNELS = 1000


class Readings(NamedTuple):
    """Readings in order: which of the payloads they are, times in ms, values [n, channels], NaN for a missing value."""

    rows: Ints
    t: Ints
    channels: tuple[str, ...]
    values: Floats


def check_channels(channels: Sequence[str]) -> None:
    """BadInput when they are too many to be the channels of one class."""
    if len(channels) > MOST_CHANNELS:
        raise BadInput(
            f"readings of one class with more than {MOST_CHANNELS} channels: {', '.join(channels[:3])}, …",
            hint="do their names change from reading to reading? correct the route's decoder",
        )


def decode_all(payloads: Sequence[bytes | None]) -> Readings:
    """The readings among payloads; a row that is not in `rows` is no reading.

    BadInput for more than 1,000 channels: names that change from reading to reading.
    """
    rows, found = _decoded(payloads)
    given = [each.values for each in found]
    layouts = list(map(tuple, given))
    distinct = dict.fromkeys(layouts)
    t = np.fromiter((each.t for each in found), np.int64, len(found))
    if len(distinct) <= 1:
        channels = layouts[0] if layouts else ()
        values = _floats(given, len(channels))
    else:
        channels = tuple(dict.fromkeys(chain.from_iterable(distinct)))
        check_channels(channels)
        values = np.full((len(found), len(channels)), np.nan)
        for layout in distinct:
            numbers = [number for number, each in enumerate(layouts) if each == layout]
            chosen = [channels.index(channel) for channel in layout]
            values[np.ix_(numbers, chosen)] = _floats([given[number] for number in numbers], len(layout))
    values[~(np.abs(values) <= MAX_VALUE)] = np.nan
    return Readings(rows, t, channels, values)


def _decoded(payloads: Sequence[bytes | None]) -> tuple[Ints, Sequence[Any]]:
    """Rows that are readings, and something with their `t` and `values`."""
    if payloads and None not in payloads and max(map(len, payloads)) <= MAX_PAYLOAD_BYTES:  # type: ignore[arg-type]  # None was excluded
        found = reading.decode_or_none(payloads)  # type: ignore[arg-type]  # as above
        if found is not None and all(each.v == 1 and each.values for each in found):
            t = [each.t for each in found]
            if min(t) >= 0 and max(t) <= MAX_TIME_MS:
                return np.arange(len(found)), found
    one_by_one = [(row, one) for row, one in enumerate(map(_or_none, payloads)) if one is not None]
    return np.array([row for row, _ in one_by_one], np.int64), [one for _, one in one_by_one]


def _or_none(payload: bytes | None) -> Reading | None:
    try:
        return reading.decode(payload or b"")
    except BadInput:
        return None


def _floats(given: Sequence[dict[str, float | None]], width: int) -> Floats:
    count = len(given) * width
    try:
        found = np.fromiter(chain.from_iterable(map(dict.values, given)), np.float64, count)
    except TypeError:  # a null is among them
        every = chain.from_iterable(map(dict.values, given))
        found = np.fromiter((np.nan if value is None else value for value in every), np.float64, count)
    return found.reshape(len(given), width)
