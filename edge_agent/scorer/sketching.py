"""Sketches of the readings of one partition, for the cloud to see drift by (headwater/contract/sketches.py).

A sketch stands for `every` readings of one asset that one version judged. Readings are noted as they come and folded
into sums a few hundred at a time, so that a reading costs about a microsecond. Nothing of it is in the state: a life
that is killed loses the sketches that it had begun. A life that replays writes some readings into a second sketch;
offsets tell, and who adds sketches up passes over one that begins before the end of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from headwater.contract.arrival import Arrival
from headwater.contract.features import FeatureSpec
from headwater.contract.sketches import LEVEL_EDGES, Channel, Sketch, channels_of, level_bin
from headwater.contract.windows import Charge

_FOLD = 256  # readings that are held until they are folded
_NAN = float("nan")


@dataclass(slots=True)
class _Open:
    """A sketch that is not full yet."""

    charge: Charge
    first: int
    t_first: int
    last: int = 0
    t_last: int = 0
    readings: int = 0
    held: list[Mapping[str, float | None]] = field(default_factory=list)
    channels: dict[str, Channel] = field(default_factory=dict)
    levels: list[int] = field(default_factory=lambda: [0] * (len(LEVEL_EDGES) + 1))


class Sketcher:
    """Notes the readings of one partition; `spec_of` has the features of a version in charge, None: not loaded."""

    def __init__(self, site: str, partition: int, every: int, spec_of: Callable[[Charge], FeatureSpec | None]) -> None:
        self._site, self._partition, self._every, self._spec_of = site, partition, every, spec_of
        self._open: dict[str, _Open] = {}
        self._full: list[Sketch] = []

    def take(self, came: Arrival, charge: Charge, level: float | None = None) -> None:
        """Note a reading that the version of `charge` judges, and the score over its threshold that came with it."""
        one = self._open.get(came.asset)
        if one is None or one.charge is not charge:
            one = self._open[came.asset] = _Open(charge, came.offset, came.reading.t)
        one.last, one.t_last = came.offset, came.reading.t
        one.held.append(came.reading.values)
        one.readings += 1
        if level is not None:
            one.levels[level_bin(level)] += 1
        if one.readings >= self._every:
            self._close(came.asset, one)
        elif len(one.held) >= _FOLD:
            self._fold(came.asset, one)

    def full(self) -> list[Sketch]:
        """The sketches that have become full since this was asked last."""
        found, self._full = self._full, []
        return found

    def _close(self, asset: str, one: _Open) -> None:
        self._fold(asset, one)
        del self._open[asset]
        if not one.channels:
            return  # its version is not loaded or has no scaling, so that there is no scale to measure in
        sketch = Sketch(
            site=self._site,
            asset=asset,
            asset_class=one.charge.asset_class,
            version=one.charge.version,
            partition=self._partition,
            first=one.first,
            last=one.last,
            t_first=one.t_first,
            t_last=one.t_last,
            readings=one.readings,
            channels=one.channels,
            levels=tuple(one.levels),
        )
        self._full.append(sketch)

    def _fold(self, asset: str, one: _Open) -> None:
        held, one.held = one.held, []
        spec = self._spec_of(one.charge)
        if spec is None or not spec.scaling:  # of lives a version may be without scales
            return
        rows = [[_NAN if (v := values.get(c)) is None else v for c in spec.channels] for values in held]
        scaling = spec.scaling_of(f"{self._site}/{asset}")
        found = channels_of((np.array(rows, np.float64) - scaling.centre) / scaling.scale)
        for name, channel in zip(spec.channels, found, strict=True):
            before = one.channels.get(name)
            one.channels[name] = channel if before is None else before + channel
