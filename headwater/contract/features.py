"""From readings to feature vectors: the same arithmetic at the edge and in the trainer.

A window is `window` consecutive usable readings of one asset; after the first full window one follows every
`step` readings. A channel that is missing keeps its last value for at most `hold` readings in a row. When it is
missing for longer, or sensor time jumps by more than `max_gap_s` either way, the window starts anew.

Each channel is scaled by the centre and scale of its asset (or of the class, key ""), then gives two
features: the mean of the window, and log(standard deviation + LOG_FLOOR), in which a frozen sensor stands out. With
the layout "window" the vector is the scaled window itself, one reading after the other, for models that look at the
order of readings.

Features with memory (memory.py) are those of an asset whose readings are one a cycle of work. Their window is the whole
life of the asset and is cut by cycles.py, not here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.contract.canonical import digest
from headwater.contract.errors import BadInput
from headwater.contract.memory import MemorySpec
from headwater.contract.reading import Reading

LOG_FLOOR = 0.001  # in units of the channel's scale; below the noise of a live sensor, far above a frozen one
MAX_FEATURES = 4096  # of a vector
MAX_KEPT = 20_000  # values of a life in a record of `state`
MAX_MAPS = 8_000  # numbers of all regimes; checkpoints have them for each class
CLASS_WIDE = ""  # key of the scaling and threshold for assets without one of their own
Floats = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float32]


class Scaling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Centre and scale of each channel, in the channel's own unit; scales are positive."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]

    def check(self, of: str, width: int) -> None:
        """Raise BadInput unless there is a finite centre and a finite positive scale for each of `width` channels."""
        if not len(self.centre) == len(self.scale) == width:
            raise BadInput(f"scaling of {of!r} does not fit {width} channels")
        if not all(np.isfinite(self.centre)):
            raise BadInput(f"scaling of {of!r} has a centre that is not finite")
        if not all(s > 0 and np.isfinite(s) for s in self.scale):
            raise BadInput(f"scaling of {of!r} has a scale that is not finite and positive")


class FeatureSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides a vector. `scaling` is keyed `site/asset`, and "" for the class."""

    channels: tuple[str, ...]
    window: int
    step: int
    scaling: dict[str, Scaling]
    max_gap_s: float = 30.0
    hold: int = 5
    v: int = 1
    layout: Literal["window"] | msgspec.UnsetType = msgspec.UNSET  # absent in JSON, as before there was a choice
    memory: MemorySpec | msgspec.UnsetType = msgspec.UNSET  # absent in JSON, as before there was one

    def check(self) -> None:
        """Raise BadInput unless this agent can compute these features."""
        if self.v != 1:
            raise BadInput(f"feature specification of version {self.v}, this agent knows 1")
        if self.memory is not msgspec.UNSET:
            self._check_memory(self.memory)
        elif not (2 <= self.window <= 10_000 and 1 <= self.step <= self.window and 1 <= len(self.channels) <= 256):
            raise BadInput(f"window {self.window}, step {self.step}, {len(self.channels)} channels: out of bounds")
        if self.width > MAX_FEATURES:
            raise BadInput(f"vectors of {self.width} features, at most {MAX_FEATURES} are taken")
        if len(set(self.channels)) != len(self.channels):
            raise BadInput("a channel is named twice in the feature specification")
        if CLASS_WIDE not in self.scaling and (self.scaling or self.memory is msgspec.UNSET):
            raise BadInput("no class-wide scaling in the feature specification")
        width = len(self.channels)
        for asset, scaling in self.scaling.items():
            scaling.check(asset or "the class", width)

    def _check_memory(self, memory: MemorySpec) -> None:
        memory.check()
        if self.channels != memory.settings + memory.sensors or (self.window, self.step) != (1, 1):
            raise BadInput("features with memory take their settings and sensors as channels, reading by reading")
        if self.layout is not msgspec.UNSET:
            raise BadInput("features with memory have no layout")
        kept = sum(memory.kept) * len(self.channels)
        maps = len(memory.regimes) * (len(memory.settings) + len(memory.sensors) * (2 + memory.latents))
        if kept > MAX_KEPT:
            raise BadInput(f"{kept:,} values are kept of an asset, at most {MAX_KEPT:,} may")
        if maps > MAX_MAPS:
            raise BadInput(f"{maps:,} numbers describe {len(memory.regimes)} regimes, at most {MAX_MAPS:,} may")

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, the name of these features in manifests and headers."""
        return digest(self)

    @property
    def width(self) -> int:
        """How many features a vector has."""
        if self.memory is not msgspec.UNSET:
            return len(self.memory.names)
        return len(self.channels) * (2 if self.layout is msgspec.UNSET else self.window)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in vector order; of a window `flow.0` is the oldest reading."""
        if self.memory is not msgspec.UNSET:
            return self.memory.names
        if self.layout is not msgspec.UNSET:
            return tuple(f"{c}.{i}" for i in range(self.window) for c in self.channels)
        return tuple(f"{c}.mean" for c in self.channels) + tuple(f"{c}.spread" for c in self.channels)

    def scaling_of(self, asset_key: str) -> Scaling:
        """Scaling of `site/asset`, or the class-wide one."""
        return self.scaling.get(asset_key) or self.scaling[CLASS_WIDE]

    def vector(self, asset_key: str, values: Floats) -> Vector:
        """Feature vector float32 [width] of one window of `site/asset`: values [window, channels] in channel units.

        Of features with memory the window is a life, and its values [1, width] are the vector.
        """
        if self.memory is not msgspec.UNSET:
            return np.asarray(values[0], dtype=np.float32)
        scaling = self.scaling_of(asset_key)
        return vector(scaling, values) if self.layout is msgspec.UNSET else flat(scaling, values)


class Window(NamedTuple):
    """Consecutive readings of one asset: offsets in the log, sensor times in ms, values [window, channels].

    Of a life: its cycles so far, and the offset of the overhaul that it began with, -1 where none is known.
    """

    first_offset: int
    last_offset: int
    t_first: int
    t_last: int
    values: Floats
    cycles: int = 0
    life_since: int = -1


def vector(scaling: Scaling, values: Floats) -> Vector:
    """Feature vector of one window: values [window, channels] in channel units to float32 [2 * channels].

    The memory layout is fixed to C order first, because numpy's sums differ in the last bit between layouts.
    """
    scaled = _scaled(scaling, values)
    means = scaled.mean(axis=0)
    spreads = np.log(scaled.std(axis=0) + LOG_FLOOR)
    return np.concatenate([means, spreads]).astype(np.float32)


def flat(scaling: Scaling, values: Floats) -> Vector:
    """The scaled window itself: values [window, channels] in channel units to float32 [window * channels]."""
    return _scaled(scaling, values).astype(np.float32).reshape(-1)


def _scaled(scaling: Scaling, values: Floats) -> Floats:
    return np.asarray((np.ascontiguousarray(values, dtype=np.float64) - scaling.centre) / scaling.scale)


class Windower:
    """The sliding window of one asset: push readings in log order, get windows when they are due."""

    def __init__(self, spec: FeatureSpec) -> None:
        self._spec = spec
        self._rows: list[tuple[int, int, tuple[float, ...]]] = []  # offset, t, values
        self._fresh = 0  # readings since the last window
        self._held = [0] * len(spec.channels)

    def push(self, offset: int, reading: Reading) -> Window | None:
        """Take one reading; the window that it completes, if any."""
        if self._rows and abs(reading.t - self._rows[-1][1]) > self._spec.max_gap_s * 1000:
            self._restart()
        values = self._complete(reading.values)
        if values is None:
            self._restart()
            return None
        first_time = len(self._rows) < self._spec.window
        self._rows.append((offset, reading.t, values))
        self._fresh += 1
        if len(self._rows) > self._spec.window:
            del self._rows[0]
        full = len(self._rows) == self._spec.window
        if not full or not (first_time or self._fresh >= self._spec.step):
            return None
        self._fresh = 0
        return self._window()

    def _window(self) -> Window:
        first, last = self._rows[0], self._rows[-1]
        return Window(first[0], last[0], first[1], last[1], np.array([row[2] for row in self._rows]))

    def _restart(self) -> None:
        self._rows.clear()
        self._fresh = 0
        self._held = [0] * len(self._spec.channels)

    def _complete(self, values: Mapping[str, float | None]) -> tuple[float, ...] | None:
        """Values in channel order with gaps held, or None where a gap cannot be held."""
        complete = []
        for i, channel in enumerate(self._spec.channels):
            value = values.get(channel)
            if value is None:
                self._held[i] += 1
                if not self._rows or self._held[i] > self._spec.hold:
                    return None
                value = self._rows[-1][2][i]
            else:
                self._held[i] = 0
            complete.append(value)
        return tuple(complete)

    @property
    def newest_t(self) -> int | None:
        """Sensor time in ms of the newest reading, None without one."""
        return self._rows[-1][1] if self._rows else None

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON-able values; floats read back to the same bits."""
        return {
            "rows": [[o, t, list(v)] for o, t, v in self._rows],
            "fresh": self._fresh,
            "held": list(self._held),
        }

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Take over a state that `snapshot` gave under the same channels; BadInput for another shape."""
        width = len(self._spec.channels)
        rows: Sequence[Any] = snapshot["rows"]
        if len(snapshot["held"]) != width or any(len(row[2]) != width for row in rows):
            raise BadInput("window state has other channels than the feature specification")
        self._rows = [(int(o), int(t), tuple(float(x) for x in v)) for o, t, v in rows][-self._spec.window :]
        self._fresh = int(snapshot["fresh"])
        self._held = [int(n) for n in snapshot["held"]]
