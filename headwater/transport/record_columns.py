"""Records as columns: what a dataset keeps of many records, without an object for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class RecordColumns(NamedTuple):
    """Offsets, log times (ms since 1970), keys, values, and of each record the last value of one header; None: null."""

    offsets: Ints
    timestamps_ms: Ints
    keys: list[bytes | None]
    values: list[bytes | None]
    marks: list[bytes | None]

    def between(self, start: int, end: int) -> RecordColumns:
        """Those with offsets in [start, end); offsets must grow."""
        low, high = np.searchsorted(self.offsets, [start, end]).tolist()
        return self.rows(low, high)

    def chosen(self, places: Sequence[int]) -> RecordColumns:
        """Those at these places."""
        texts = ([of[place] for place in places] for of in (self.keys, self.values, self.marks))
        rows = np.array(places, np.int64)
        return RecordColumns(self.offsets[rows], self.timestamps_ms[rows], *texts)

    def rows(self, low: int, high: int) -> RecordColumns:
        """Those at the places [low, high)."""
        part = slice(low, high)
        return RecordColumns(
            self.offsets[part], self.timestamps_ms[part], self.keys[part], self.values[part], self.marks[part]
        )


def joined(parts: Sequence[RecordColumns]) -> RecordColumns:
    """One behind the other."""
    return RecordColumns(
        np.concatenate([np.zeros(0, np.int64), *(part.offsets for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.timestamps_ms for part in parts)]),
        [key for part in parts for key in part.keys],
        [value for part in parts for value in part.values],
        [mark for part in parts for mark in part.marks],
    )
