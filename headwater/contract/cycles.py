"""The life of one asset whose readings are one a cycle of work: push them in log order, each gives a window.

Its window is the whole life since the overhaul, and carries the vector of features with memory (memory.py). What is
kept of it are readings as they came, the first and the last ones of the life: they and the number of cycles decide the
features under any map. So a version with another map goes on with the same life, to the bit, wherever the log begins.

A reading that lacks a setting cannot be placed in a regime: it is passed over and is no cycle. Sensor time is not
looked at: how long an asset stands still says nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from headwater.contract.errors import BadInput
from headwater.contract.features import Window
from headwater.contract.memory import Memory, MemorySpec
from headwater.contract.reading import Reading

Row = list[float | None]  # settings, then sensors; None for a sensor that was missing


class Kept(msgspec.Struct, frozen=True):
    """A life as it is stored. `first` and `last` overlap while it is short."""

    settings: tuple[str, ...]
    sensors: tuple[str, ...]
    since: int  # offset of the overhaul, -1 where none is known
    began: tuple[int, int] | None  # offset and sensor time in ms of the first cycle
    newest_t: int | None
    cycles: int
    first: list[Row]
    last: list[Row]


class Cycles:
    """The life of one asset under these features; to begin with none of it is known."""

    def __init__(self, spec: MemorySpec) -> None:
        self._spec = spec
        self._channels = spec.settings + spec.sensors
        self._memory = Memory(spec)
        self._most, most_last = spec.kept
        self._first: list[Row] = []
        self._last: deque[Row] = deque(maxlen=most_last)
        self._since = -1
        self._began: tuple[int, int] | None = None
        self._newest_t: int | None = None

    def push(self, offset: int, reading: Reading) -> Window | None:
        """Take one reading; the window of the cycle, None where it lacks a setting."""
        kept = [reading.values.get(channel) for channel in self._channels]
        width = len(self._spec.settings)
        if None in kept[:width]:
            return None
        if len(self._first) < self._most:
            self._first.append(kept)
        self._last.append(kept)
        self._began = self._began or (offset, reading.t)
        self._newest_t = reading.t
        row = np.array([kept], dtype=np.float64)  # None is NaN
        vector = self._memory.step(row[:, :width], row[:, width:])
        first, t_first = self._began
        values = vector.astype(np.float64)
        return Window(first, offset, t_first, reading.t, values, self.cycles, self._since)

    def overhaul(self, offset: int) -> None:
        """The asset is as new, by a record at this offset."""
        self._memory.overhaul()
        self._first.clear()
        self._last.clear()
        self._since, self._began = offset, None

    def lose(self) -> None:
        """Readings are gone that nobody has seen: the life is older than it looks, or another by now."""
        self._since = -1

    @property
    def cycles(self) -> int:
        """Cycles of this life so far."""
        return int(self._memory.cycles[0])

    @property
    def newest_t(self) -> int | None:
        """Sensor time in ms of the newest cycle, None without one."""
        return self._newest_t

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON-able values; floats read back to the same bits."""
        kept = Kept(
            self._spec.settings,
            self._spec.sensors,
            self._since,
            self._began,
            self._newest_t,
            self.cycles,
            self._first,
            list(self._last),
        )
        found: dict[str, Any] = msgspec.to_builtins(kept)
        return found

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Go on with what `snapshot` gave, under these features or others that need no more of it; BadInput else."""
        try:
            kept = msgspec.convert(snapshot, Kept)
        except msgspec.ValidationError as error:
            raise BadInput(f"not the life of an asset: {error}") from error
        order = _order(kept, self._spec)
        first, last = _of_all(kept, self._spec.kept)
        self._first = [[row[place] for place in order] for row in first]
        self._last = deque(([row[place] for place in order] for row in last), maxlen=self._last.maxlen)
        self._since, self._began, self._newest_t = kept.since, kept.began, kept.newest_t
        width = len(self._spec.settings)
        oldest = np.array(self._first, dtype=np.float64).reshape(-1, len(order))
        newest = np.array(self._last, dtype=np.float64).reshape(-1, len(order))
        self._memory.fill(kept.cycles, (oldest[:, :width], oldest[:, width:]), (newest[:, :width], newest[:, width:]))


def _order(kept: Kept, spec: MemorySpec) -> list[int]:
    """Where the channels of `spec` stand in a kept row."""
    there = kept.settings + kept.sensors
    if sorted(kept.settings) != sorted(spec.settings) or not set(spec.sensors) <= set(kept.sensors):
        raise BadInput("the life of an asset was kept with other channels")
    if any(len(row) != len(there) for row in (*kept.first, *kept.last)):
        raise BadInput("the life of an asset was kept with rows of another width")
    return [there.index(name) for name in spec.settings + spec.sensors]


def _of_all(kept: Kept, wanted: tuple[int, int]) -> tuple[Sequence[Any], Sequence[Any]]:
    """So many of the first and of the last rows of the life, or all where it has fewer."""
    cycles, first, last = kept.cycles, kept.first, kept.last
    if not max(len(first), len(last)) <= cycles or (cycles > 0) != (kept.began is not None):
        raise BadInput("the life of an asset has more rows than cycles")
    if len(first) + len(last) >= cycles:
        first = last = [*first, *last[len(first) + len(last) - cycles :]]
    most_first, most_last = (min(each, cycles) for each in wanted)
    if len(first) < most_first or len(last) < most_last:
        raise BadInput("fewer readings of the life of an asset were kept than these features need")
    return first[:most_first], last[len(last) - most_last :]
