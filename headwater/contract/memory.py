"""Features with memory: what the readings of an asset say about its life since the last overhaul.

One reading stands for one cycle of work (a flight, a batch, an hour). For each:

1. The regime is that whose centre is nearest to the settings, each over its span.
2. Each sensor, less the regime's mean and over its scale, is cut to `clip` either way. The regime's map makes a few
   latent values of it: a linear estimate of what the sensors say without noise.
3. Features of the window: for each of `means` the mean of so many of the last latents (of those that there are), and
   the slope of the longest of them (least squares), in ten cycles. A latent counts by the `heed` of its regime: one
   way of running shows wear more clearly than another.
   Where sensors are missing, by as much of that as the map's weights of the others are of all, and its value is what
   these say over that share: a cycle without any sensor counts as a cycle, and in no mean and no slope. A mean without
   a cycle that counts is that of the next longer window, the longest is zero: the mean of the regime.
4. Features of the life, where `is_lifelong`: for each of `baselines` the mean of the first so many latents, frozen
   after them; and of the cycles n since overhaul n / 100, log(n / 100), and how much of the first baselines there is.

Trainer and edge run the same code: the trainer steps all assets side by side, the edge one. Every lane is summed in the
same order whatever stands beside it, so both have the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.contract.canonical import digest
from headwater.contract.errors import BadInput

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]
_AGE = 100.0  # cycles
_SLOPE = 10.0  # cycles
_LEAST = 1e-300
_NOTHING = 1e-9  # of a latent: what rounding leaves where all sensors are missing that have a part in it
_FLAT = 1e-12  # of the sum of squares: all cycles that count stand at one place, but for rounding
_MOST = 1_000


class Regime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way of running: centre of the settings, mean and scale of the sensors, map [sensors][latents].

    `heed`: how much each latent counts in means and slopes, above zero; one each where there is none.
    """

    centre: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    map: tuple[tuple[float, ...], ...]
    heed: tuple[float, ...] = ()


class MemorySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that decides the features. `setting_scale`: what counts as a distance of one, in a setting's unit."""

    settings: tuple[str, ...]
    sensors: tuple[str, ...]
    setting_scale: tuple[float, ...]
    regimes: tuple[Regime, ...]
    means: tuple[int, ...] = (1, 5, 10, 20, 30)
    baselines: tuple[int, ...] = (10, 20, 40, 80)
    clip: float = 6.0
    is_lifelong: bool = True
    v: int = 1

    def check(self) -> None:
        """Raise BadInput unless this agent can compute these features."""
        if self.v != 1:
            raise BadInput(f"features with memory of version {self.v}, this agent knows 1")
        latents = self.latents
        if not (1 <= latents <= len(self.sensors) <= 256 and self.means and len(self.settings) <= 16):
            raise BadInput(f"{len(self.sensors)} sensors, {latents} latents, {len(self.means)} means: out of bounds")
        if not all(1 <= count <= _MOST for count in (*self.means, *self.baselines)):
            raise BadInput(f"means and baselines are 1 to {_MOST:,} cycles")
        if len(set(self.settings + self.sensors)) != len(self.settings) + len(self.sensors):
            raise BadInput("a channel is named twice in the features with memory")
        _check_row("spans of the settings", self.setting_scale, len(self.settings), positive=True)
        _check_row("the clip", (self.clip,), 1, positive=True)
        for number, regime in enumerate(self.regimes):
            _check_row(f"centre of regime {number}", regime.centre, len(self.settings))
            _check_row(f"mean of regime {number}", regime.mean, len(self.sensors))
            _check_row(f"scale of regime {number}", regime.scale, len(self.sensors), positive=True)
            if len(regime.map) != len(self.sensors):
                raise BadInput(f"map of regime {number} does not fit {len(self.sensors)} sensors")
            for row in regime.map:
                _check_row(f"map of regime {number}", row, latents)
            if regime.heed:
                _check_row(f"heed of regime {number}", regime.heed, latents, positive=True)

    @property
    def latents(self) -> int:
        """How many latent values there are."""
        return len(self.regimes[0].map[0]) if self.regimes and self.regimes[0].map else 0

    @property
    def kept(self) -> tuple[int, int]:
        """How many of the first and of the last readings of a life decide the features, beside their number."""
        return (max(self.baselines, default=0) if self.is_lifelong else 0), max(self.means)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in vector order."""
        parts = [f"mean{count}" for count in self.means] + [f"slope{max(self.means)}"]
        if self.is_lifelong:
            parts += [f"first{count}" for count in self.baselines]
        names = [f"{part}.{latent}" for part in parts for latent in range(self.latents)]
        if self.is_lifelong:
            names += ["age", "log_age", *(f"settled{count}" for count in self.baselines)]
        return tuple(names)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON, the name of these features in manifests and headers."""
        return digest(self)


def _check_row(of: str, row: Sequence[float], width: int, *, positive: bool = False) -> None:
    if len(row) != width or not np.isfinite(row).all() or (positive and not all(x > 0 for x in row)):
        raise BadInput(f"{of}: {width} finite{' positive' if positive else ''} numbers are needed")


class Memory:
    """The state of some assets side by side, `lanes` of them, all at their overhaul to begin with."""

    def __init__(self, spec: MemorySpec, lanes: int = 1) -> None:
        spec.check()
        self._spec = spec
        self._settings_scale = np.array(spec.setting_scale)
        self._centres = np.array([each.centre for each in spec.regimes]) / spec.setting_scale
        mean, scale = np.array([each.mean for each in spec.regimes]), np.array([each.scale for each in spec.regimes])
        heed = np.array([each.heed or (1.0,) * spec.latents for each in spec.regimes])
        maps = np.array([each.map for each in spec.regimes]).reshape(len(spec.regimes), -1)
        self._regimes = np.concatenate((mean, scale, heed, maps), axis=1)  # one row is looked up a lane
        weights = np.abs([each.map for each in spec.regimes])
        self._weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), _LEAST)  # [regimes, sensors, latents]
        longest = max(spec.means)
        place = -np.arange(longest, dtype=np.float64)
        self._places = np.array((place, place * place))
        self._ends = np.array([*spec.means, longest]) - 1  # the last makes room for the slope
        self._longer = _longer(spec.means)
        self._firsts = np.array(spec.baselines)
        self._longer_firsts = _longer(spec.baselines)
        self._most = max(spec.baselines, default=0)
        self._names = spec.names
        self._has_gaps = False  # whether a sensor was missing yet: a lane without has the same bits either way
        self.cycles = np.zeros(lanes, dtype=np.int64)  # since overhaul
        # Of each cycle the heed of each latent, then heed times latent; the newest first, zero where there was none.
        self._recent = np.zeros((lanes, longest, 2 * spec.latents))
        self._firsts_of = np.zeros((lanes, len(spec.baselines), 2 * spec.latents))  # sums of the same

    def overhaul(self, lane: int = 0) -> None:
        """Forget all of one asset: it is as new."""
        for part in (self.cycles, self._recent, self._firsts_of):
            part[lane] = 0

    def step(self, settings: Floats, sensors: Floats) -> Vectors:
        """Take the next reading of the first n lanes; their vectors float32 [n, features].

        Settings [n, settings] and sensors [n, sensors] are in their own units, none beyond `reading.MAX_VALUE`; NaN for
        a sensor that is missing.
        """
        n, spec = len(sensors), self._spec
        newest = self._newest(settings, sensors)
        recent = self._recent[:n]
        recent[:, 1:] = recent[:, :-1].copy()
        recent[:, 0] = newest
        cycles = self.cycles[:n]
        cycles += 1
        found = np.empty((n, len(self._names)), dtype=np.float32)
        window = self._window(recent).reshape(n, -1)
        width = window.shape[1]
        found[:, :width] = window
        if not spec.is_lifelong:
            return found
        firsts = self._firsts_of[:n]
        settled = cycles[:, None]
        if not n or cycles.min() <= self._most:  # behind them nothing is added
            firsts += newest[:, None] * (settled <= self._firsts)[..., None]
        age, behind = cycles / _AGE, width + len(self._firsts) * spec.latents
        found[:, width:behind] = self._means(firsts, self._longer_firsts).reshape(n, -1)
        found[:, behind] = age
        found[:, behind + 1] = np.log(age)
        found[:, behind + 2 :] = np.minimum(settled, self._firsts) / self._firsts
        return found

    def _newest(self, settings: Floats, sensors: Floats) -> Floats:
        """Heed, and heed times latent, of one cycle [n, 2 * latents]."""
        n, width = sensors.shape
        latents = self._spec.latents
        far = settings[:, None] / self._settings_scale
        far = far - self._centres
        far *= far
        near = np.add.reduce(far, axis=2).argmin(axis=1)
        of = self._regimes[near]
        z = sensors - of[:, :width]
        z /= of[:, width : 2 * width]
        np.maximum(z, -self._spec.clip, out=z)
        np.minimum(z, self._spec.clip, out=z)
        missing = np.isnan(z)
        np.copyto(z, 0.0, where=missing)
        found = np.empty((n, 2 * latents))
        found[:, :latents] = heed = of[:, 2 * width : 2 * width + latents]
        maps = of[:, 2 * width + latents :].reshape(n, width, latents)
        np.multiply(heed, np.add.reduce(z[:, :, None] * maps, axis=1), out=found[:, latents:])
        if missing.any():
            self._has_gaps = True
            share = 1.0 - np.add.reduce(self._weights[near] * missing[:, :, None], axis=1)  # one where none is missing
            share *= share > _NOTHING
            found[:, :latents] *= share
        return found

    def _window(self, recent: Floats) -> Floats:
        """Means and slope [n, means + 1, latents]."""
        latents = self._spec.latents
        running = np.add.accumulate(recent, axis=1)  # from the newest cycle backwards
        moments = np.add.reduce(self._places[:, :, None] * recent[:, None], axis=2)
        heed, total = moments[..., :latents], moments[..., latents:]
        whole = running[:, -1, :latents]
        lag = heed[:, 0] / (np.maximum(whole, _LEAST) if self._has_gaps else whole)
        spread = np.maximum(heed[:, 1] - heed[:, 0] * lag, _LEAST)  # of one cycle both are zero, and so is the slope
        slope = (total[:, 0] - running[:, -1, latents:] * lag) / spread
        if self._has_gaps:
            slope *= spread > _FLAT * heed[:, 1]
        found = self._means(running[:, self._ends], self._longer)
        np.multiply(slope, _SLOPE, out=found[:, -1])
        return found

    def _means(self, sums: Floats, longer: Sequence[tuple[int, int]]) -> Floats:
        """Means [n, means, latents] of sums of heed, and of heed times latent, [n, means, 2 * latents]."""
        latents = self._spec.latents
        heed, total = sums[..., :latents], sums[..., latents:]
        if not self._has_gaps:
            return np.asarray(total / heed)
        found: Floats = total / np.maximum(heed, _LEAST)
        if not heed.all():
            empty = heed == 0
            for place, other in longer:
                np.copyto(found[:, place], found[:, other], where=empty[:, place])
        return found

    def fill(self, cycles: int, first: tuple[Floats, Floats], last: tuple[Floats, Floats], lane: int = 0) -> None:
        """Stand as after so many cycles, of which these were the first and the last (see `MemorySpec.kept`).

        Of either settings [n, settings] and sensors [n, sensors], oldest first; BadInput for another number of them.
        """
        most_first, most_last = (min(each, cycles) for each in self._spec.kept)
        if cycles < 0 or (len(first[1]), len(last[1])) != (most_first, most_last):
            raise BadInput(f"{len(first[1])} first and {len(last[1])} last readings of {cycles} cycles")
        self.overhaul(lane)
        self.cycles[lane] = cycles
        if most_last:
            self._recent[lane, :most_last] = self._newest(*last)[::-1]
        for number, newest in enumerate(self._newest(*first) if most_first else (), start=1):
            self._firsts_of[lane] += newest * (number <= self._firsts)[:, None]


def _longer(counts: Sequence[int]) -> list[tuple[int, int]]:
    """Places of counts and of the next larger one, from the largest down."""
    places = sorted(range(len(counts)), key=lambda place: -counts[place])
    return list(zip(places[1:], places, strict=False))
