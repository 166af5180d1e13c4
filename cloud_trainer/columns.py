"""Readings of one asset as they are collected: eight bytes a value, whatever channels come and go."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloud_trainer.series import Series
from headwater.contract.reading import Reading

_NAN = float("nan")
Mask = npt.NDArray[np.bool_]


class Columns:
    """Grows by one reading at a time; NaN stands for a value that is missing."""

    def __init__(self) -> None:
        self._t = array("q")
        self._values: dict[str, array[float]] = {}

    def __len__(self) -> int:
        return len(self._t)

    @property
    def channels(self) -> set[str]:
        """Every channel that a reading has had."""
        return set(self._values)

    @property
    def t(self) -> npt.NDArray[np.int64]:
        """Sensor times in ms, in the order of the log."""
        return np.array(self._t, dtype=np.int64)

    def add(self, reading: Reading) -> None:
        """Take the next reading."""
        count = len(self._t)
        self._t.append(reading.t)
        for channel, value in reading.values.items():
            column = self._values.get(channel)
            if column is None:
                column = self._values[channel] = array("d", [_NAN]) * count
            column.append(_NAN if value is None else value)
        if len(reading.values) < len(self._values):
            for column in self._values.values():
                if len(column) == count:
                    column.append(_NAN)

    def series(self, channels: Sequence[str], healthy: Mask) -> Series:
        """The readings that `healthy` marks; the stretch changes wherever some were left out."""
        values = np.full((len(self), len(channels)), _NAN)
        for i, channel in enumerate(channels):
            if channel in self._values:
                values[:, i] = self._values[channel]
        stretch = np.cumsum(~healthy)
        return Series(self.t[healthy], values[healthy], stretch[healthy].astype(np.int64))
