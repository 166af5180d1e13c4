"""Which windows of a partition are scored, and by which version: one definition for the edge and for whoever recounts.

1. A swap of a class at offset S judges every window whose last reading has an offset >= S; the version before it
   judges those below. Windows of a class before its first swap are not scored.
2. Where both versions cut windows alike (the same `Cadence`), the windows of each asset go on across the swap.
3. Otherwise each asset of the class starts anew, filled with its last `window - 1` readings among the offsets
   [rewound_from, S); so no asset waits for a new window to fill. None of these readings completes a window.
4. An asset that appears under another class starts anew there.
5. Of features with memory (cycles.py) the window is the life of an asset since its overhaul, a record in `readings`.
   A swap to other features goes on with the same life where what is kept of it suffices. Elsewhere the life is filled
   from the readings in [rewound_from, S), from the last overhaul among them, or as one of which none is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from headwater.contract.arrival import Arrival
from headwater.contract.canonical import digest
from headwater.contract.cycles import Cycles
from headwater.contract.errors import BadInput
from headwater.contract.features import FeatureSpec, Window, Windower
from headwater.contract.memory import MemorySpec
from headwater.contract.overhaul import Came, Overhauled


class Cadence(msgspec.Struct, frozen=True):
    """The part of a feature specification that decides where windows begin and end, and what is in them."""

    channels: tuple[str, ...]
    window: int
    step: int
    max_gap_s: float
    hold: int
    memory: MemorySpec | msgspec.UnsetType = msgspec.UNSET  # absent in JSON, as before there was one

    @classmethod
    def of(cls, spec: FeatureSpec) -> Cadence:
        """The cadence of these features."""
        return cls(spec.channels, spec.window, spec.step, spec.max_gap_s, spec.hold, spec.memory)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self)

    def windower(self) -> Windower | Cycles:
        """An empty sliding window, or a life of which nothing is known."""
        if self.memory is not msgspec.UNSET:
            return Cycles(self.memory)
        return Windower(FeatureSpec(self.channels, self.window, self.step, {}, self.max_gap_s, self.hold))


class Charge(msgspec.Struct, frozen=True):
    """A swap, and for as long as no other follows the version in charge of a class in one partition.

    `since` is the first offset that it judges. Times are in ms of Unix time. With the digests of both files a life
    that starts from a checkpoint proves them by the log alone; desired.json may name another version by then.
    """

    asset_class: str
    version: int
    sha256: str  # of the .tflite
    since: int
    rewound_from: int
    cadence: Cadence
    swapped_at: int
    swap_ms: int
    source: Literal["download", "disk"]
    manifest_sha256: str = ""  # of the bytes of manifest.json; "" in a record of an agent that did not write it


class Track(NamedTuple):
    """The sliding window or the life of an asset while it belongs to `asset_class`."""

    asset_class: str
    windower: Windower | Cycles


class Windows:
    """The sliding windows of one partition."""

    def __init__(self) -> None:
        self._cadences: dict[str, Cadence] = {}
        self._tracks: dict[str, Track] = {}
        self._renewed: dict[str, int] = {}  # offsets of overhauls behind which no reading of the asset came yet

    def cadence(self, asset_class: str) -> Cadence | None:
        """How windows of a class are cut at present."""
        return self._cadences.get(asset_class)

    def push(self, arrival: Arrival) -> Window | None:
        """Take the next reading of the partition; the window that it completes, if any."""
        renewed = self._renewed.pop(arrival.asset, None)
        track = self._tracks.get(arrival.asset)
        if track is None or track.asset_class != arrival.asset_class:
            self._tracks.pop(arrival.asset, None)
            cadence = self._cadences.get(arrival.asset_class)
            if cadence is None:
                return None
            track = self._tracks[arrival.asset] = Track(arrival.asset_class, cadence.windower())
            if renewed is not None and isinstance(track.windower, Cycles):
                track.windower.overhaul(renewed)
        return track.windower.push(arrival.offset, arrival.reading)

    def overhaul(self, asset: str, offset: int) -> None:
        """An asset is as new by a record at this offset; it means nothing to a sliding window."""
        self._renewed[asset] = offset
        track = self._tracks.get(asset)
        if track is not None and isinstance(track.windower, Cycles):
            track.windower.overhaul(offset)

    def swap(self, asset_class: str, cadence: Cadence, rewound: Iterable[Came]) -> list[str]:
        """Cut the windows of a class by `cadence` from here on; the assets of which something else is to be stored now.

        `rewound` holds readings of any class and overhauls before the swap, each asset's in log order.
        """
        if self._cadences.get(asset_class) == cadence:
            return []
        self._cadences[asset_class] = cadence
        before = {asset: track for asset, track in self._tracks.items() if track.asset_class == asset_class}
        self._tracks = {asset: t for asset, t in self._tracks.items() if t.asset_class != asset_class}
        for asset, life in _lives_of_class(asset_class, rewound, cadence).items():
            track = self._tracks[asset] = Track(asset_class, cadence.windower())
            if life.since >= 0 and isinstance(track.windower, Cycles):
                track.windower.overhaul(life.since)
            for arrival in life.arrivals:
                track.windower.push(arrival.offset, arrival.reading)
        for asset, track in before.items():
            if isinstance(track.windower, Cycles):
                self.go_on(asset, asset_class, track.windower.snapshot())
        return sorted({*before, *self.assets(asset_class)})

    def lose(self) -> list[str]:
        """Readings of the partition are gone that nobody has seen; the assets of which something else is to be stored.

        Their lives are not known since; nor is where one begins whose overhaul had no reading behind it yet.
        """
        lost = set(self._renewed)
        self._renewed.clear()
        for asset, track in self._tracks.items():
            if isinstance(track.windower, Cycles):
                track.windower.lose()
                lost.add(asset)
        return sorted(lost)

    def can_go_on(self, asset_class: str, cadence: Cadence) -> bool:
        """Whether every asset of a class goes on with its life under `cadence`, so that none is filled from the log."""
        before = self._cadences.get(asset_class)
        if before is None or before.memory is msgspec.UNSET or cadence.memory is msgspec.UNSET:
            return False
        lives = [track.windower for track in self._tracks.values() if track.asset_class == asset_class]
        return all(isinstance(life, Cycles) and _gone_on(cadence, life.snapshot()) is not None for life in lives)

    def go_on(self, asset: str, asset_class: str, snapshot: dict[str, Any]) -> bool:
        """Take over a life that another cadence left; whether it could be. Where not, all stays as it is."""
        life = _gone_on(self._cadences[asset_class], snapshot)
        if life is not None:
            self._tracks[asset] = Track(asset_class, life)
        return life is not None

    def snapshot(self, asset: str) -> tuple[str, dict[str, Any]] | None:
        """Class and sliding window of an asset as JSON-able values, or None where it has none."""
        track = self._tracks.get(asset)
        return (track.asset_class, track.windower.snapshot()) if track else None

    @property
    def renewed(self) -> Mapping[str, int]:
        """By asset the offset of an overhaul behind which no reading of it came yet."""
        return self._renewed

    def newest_t(self, asset: str) -> int | None:
        """Sensor time in ms of the asset's newest reading, None where it has no window."""
        track = self._tracks.get(asset)
        return track.windower.newest_t if track else None

    def assets(self, asset_class: str) -> list[str]:
        """The assets that have a sliding window of this class."""
        return [asset for asset, track in self._tracks.items() if track.asset_class == asset_class]

    def renew(self, asset: str, offset: int) -> None:
        """Bring back what `renewed` gave."""
        self._renewed[asset] = offset

    def set_cadence(self, asset_class: str, cadence: Cadence) -> None:
        """Declare a cadence that was in force when the snapshots were taken that `restore` brings back."""
        self._cadences[asset_class] = cadence

    def restore(self, asset: str, asset_class: str, snapshot: dict[str, Any]) -> None:
        """Bring back what `snapshot` gave under the cadence that is set; BadInput for another shape."""
        windower = self._cadences[asset_class].windower()
        windower.restore(snapshot)
        self._tracks[asset] = Track(asset_class, windower)


class _Life(NamedTuple):
    """What a window or a life is filled from; `since` is the offset of the overhaul, -1 where none is known."""

    since: int
    arrivals: deque[Arrival]


def _gone_on(cadence: Cadence, snapshot: dict[str, Any]) -> Cycles | None:
    life = cadence.windower()
    if not isinstance(life, Cycles):
        return None
    try:
        life.restore(snapshot)
    except BadInput:
        return None
    return life


def _lives_of_class(asset_class: str, rewound: Iterable[Came], cadence: Cadence) -> dict[str, _Life]:
    """Per asset its last readings in a row of this class: as many as fill a window, or those since its overhaul."""
    has_memory = cadence.memory is not msgspec.UNSET
    most = None if has_memory else cadence.window - 1
    found: dict[str, _Life] = {}
    for one in rewound:
        if isinstance(one, Overhauled):
            if has_memory:
                found[one.asset] = _Life(one.offset, deque())
        elif one.asset_class == asset_class:
            found.setdefault(one.asset, _Life(-1, deque(maxlen=most))).arrivals.append(one)
        else:
            found.pop(one.asset, None)
    return {asset: life for asset, life in found.items() if life.arrivals}


class Recent:
    """The last `most` readings of each asset of a partition, and its last overhaul."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, deque[Arrival]] = {}
        self._overhauls: dict[str, Overhauled] = {}

    def add(self, one: Came) -> None:
        """Take the next reading or overhaul of the partition."""
        if isinstance(one, Overhauled):
            self._overhauls[one.asset] = one
        else:
            self._of.setdefault(one.asset, deque(maxlen=self._most)).append(one)

    def since(self, offset: int) -> list[Came]:
        """Those with this offset or a later one, asset by asset."""
        found: list[Came] = [each for each in self._overhauls.values() if each.offset >= offset]
        found += [arrival for arrivals in self._of.values() for arrival in arrivals if arrival.offset >= offset]
        return sorted(found, key=lambda one: (one.asset, one.offset))

    def short(self, assets: Iterable[str], enough: int) -> bool:
        """Whether an asset among these or those seen has fewer readings than `enough`."""
        return any(len(self._of.get(asset, ())) < enough for asset in {*assets, *self._of})


class Expected(NamedTuple):
    """A window that must be scored exactly once, by the version of `charge`."""

    asset: str
    window: Window
    charge: Charge


def expected(arrivals: Iterable[Came], swaps: Sequence[Charge]) -> Iterator[Expected]:
    """The windows of one partition that must be scored, in order of their last reading.

    `arrivals` are all its usable readings and overhauls in log order; `swaps` are in the order in which they were
    declared. Lives are those that the scorer had where the log reaches back to its begin, or to their overhauls.
    """
    windows = Windows()
    recent = Recent(max((_reach(swap) for swap in swaps), default=0))
    charges: dict[str, Charge] = {}
    coming = deque(sorted(swaps, key=lambda swap: swap.since))
    for arrival in arrivals:
        while coming and coming[0].since <= arrival.offset:
            swap = coming.popleft()
            windows.swap(swap.asset_class, swap.cadence, recent.since(swap.rewound_from))
            charges[swap.asset_class] = swap
        recent.add(arrival)
        if isinstance(arrival, Overhauled):
            windows.overhaul(arrival.asset, arrival.offset)
            continue
        window = windows.push(arrival)
        if window is not None:
            yield Expected(arrival.asset, window, charges[arrival.asset_class])


def _reach(swap: Charge) -> int:
    """How many readings of an asset before a swap may be needed to fill its window or its life."""
    return swap.cadence.window - 1 if swap.cadence.memory is msgspec.UNSET else swap.since - swap.rewound_from
