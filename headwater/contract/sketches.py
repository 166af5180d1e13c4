"""What an edge tells of its readings without sending them: histograms and moments that merge exactly in any order.

A value x of a channel counts as z = (x - centre) / scale by the scaling of the asset in the model that judges it, so
that sketches of all assets of a version share their bins. Sums are kept as whole numbers of 1/1024 of z (within ±1000),
and whole numbers add up to the same in any order; what is derived from them (mean, M2) is therefore the same too.

Drift is measured by the population stability index, PSI = Σ (a - e) ln(a / e) over the shares a and e of two histograms
(Siddiqi, Credit Risk Scorecards, 2006, gives 0.25 as a large shift), with half a reading added to each bin.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.contract.errors import BadInput
from headwater.contract.names import check_name, check_site

EDGES = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)  # of z
LEVEL_EDGES = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.25, 2.0, 4.0)  # of score over threshold
OVER = LEVEL_EDGES.index(1.0) + 1  # first bin of levels that are at the threshold or over it
UNIT = 1024  # of z, in sums
MOST_Z = 1000.0
_BINS = len(EDGES) + 1
_SAFE = (1 << 62) // int(MOST_Z * UNIT) ** 2  # squares of so many values fit into an int64
Floats = npt.NDArray[np.float64]


class Channel(msgspec.Struct, frozen=True):
    """One channel: values and missing ones, sums of z and of z² in units of 1/UNIT and 1/UNIT², counts by bin."""

    count: int
    missing: int
    total: int
    squares: int
    bins: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Of z; NaN without a value."""
        return self.total / (self.count * UNIT) if self.count else math.nan

    @property
    def m2(self) -> float:
        """Sum of the squared distances of z from its mean; exact before it is rounded once."""
        if not self.count:
            return math.nan
        return (self.squares * self.count - self.total * self.total) / (self.count * UNIT * UNIT)

    @property
    def fits(self) -> bool:
        """Whether it could be of readings: bins of our edges that hold each value once, and sums that values can have.

        The square of a sum of n numbers is at most n times the sum of their squares (Cauchy and Schwarz).
        """
        most = int(MOST_Z * UNIT)
        return (
            len(self.bins) == _BINS
            and min(self.missing, *self.bins) >= 0
            and sum(self.bins) == self.count
            and abs(self.total) <= self.count * most
            and self.total**2 <= self.count * self.squares <= (self.count * most) ** 2
        )

    def __add__(self, other: Channel) -> Channel:
        """Both together; exact, in any order."""
        return Channel(
            self.count + other.count,
            self.missing + other.missing,
            self.total + other.total,
            self.squares + other.squares,
            tuple(a + b for a, b in zip(self.bins, other.bins, strict=True)),
        )


class Sketch(msgspec.Struct, frozen=True):
    """Readings of one asset that one version judged. Offsets are those of `readings` at the edge, both included.

    `levels` counts scores over threshold by LEVEL_EDGES; times are sensor times in ms.
    """

    site: str
    asset: str
    asset_class: str
    version: int
    partition: int
    first: int
    last: int
    t_first: int
    t_last: int
    readings: int
    channels: dict[str, Channel]
    levels: tuple[int, ...]
    v: int = 1

    def check(self) -> None:
        """Raise BadInput unless it could be of readings: names, offsets, and counts and sums that belong together."""
        check_site(self.site)
        check_name(self.asset, "asset")
        check_name(self.asset_class, "asset class")
        if not 0 <= self.first <= self.last < 1 << 63 or not 1 <= self.readings <= self.last - self.first + 1:
            raise BadInput(f"{self.readings} readings at the offsets {self.first} to {self.last} are none of a log")
        if len(self.levels) != len(LEVEL_EDGES) + 1 or not 0 <= min(self.levels) <= max(self.levels) < 1 << 63:
            raise BadInput("levels are not counts of scores by the edges of this version")
        for name, channel in self.channels.items():
            if not channel.fits or channel.count + channel.missing > self.readings:
                raise BadInput(f"channel {name[:40]!r} does not count {self.readings} readings")


def channels_of(z: Floats) -> list[Channel]:
    """Sketches of the columns of values in units of the scale [n, channels]; NaN stands for a missing one."""
    rows, columns = z.shape
    known = np.isfinite(z)
    values = np.where(known, z, 0.0)
    units = np.rint(values.clip(-MOST_Z, MOST_Z) * UNIT).astype(np.int64)
    numbers = np.searchsorted(EDGES, values, side="right") + np.arange(columns) * _BINS
    bins = np.bincount(numbers[known], minlength=columns * _BINS).reshape(columns, _BINS).tolist()
    count, total, squares = known.sum(axis=0).tolist(), units.sum(axis=0).tolist(), _squares(units)
    return [Channel(count[i], rows - count[i], total[i], squares[i], tuple(bins[i])) for i in range(columns)]


def channel_of(z: Floats) -> Channel:
    """Sketch of the values of one channel [n]."""
    return channels_of(z.reshape(-1, 1))[0]


def _squares(units: npt.NDArray[np.int64]) -> list[int]:
    """Exact: so many at a time that their sum fits into an int64."""
    parts = [(part * part).sum(axis=0).tolist() for part in np.split(units, range(_SAFE, len(units), _SAFE))]
    return [sum(column) for column in zip(*parts, strict=True)]


def level_bin(level: float) -> int:
    """Bin of a score over its threshold."""
    return bisect_right(LEVEL_EDGES, level)


def merged(channels: Iterable[Channel]) -> Channel:
    """All of them together; of none, an empty sketch."""
    total = Channel(0, 0, 0, 0, (0,) * (len(EDGES) + 1))
    for each in channels:
        total += each
    return total


def psi(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Population stability index of two histograms over the same bins; 0 where one of them is empty."""
    e, a = np.array(expected, np.float64), np.array(actual, np.float64)
    if not e.sum() or not a.sum():
        return 0.0
    e, a = (e + 0.5) / (e.sum() + 0.5 * len(e)), (a + 0.5) / (a.sum() + 0.5 * len(a))
    return float(((a - e) * np.log(a / e)).sum())
