"""Which windows of a partition are scored, and by which version: one definition for the edge and for whoever recounts.

1. A swap of a class at offset S judges every window whose last reading has an offset >= S; the version before it
   judges those below. Windows of a class before its first swap are not scored.
2. Where both versions cut windows alike (the same `Cadence`), the windows of each asset go on across the swap.
3. Otherwise each asset of the class starts anew, filled with its last `window - 1` readings among the offsets
   [rewound_from, S); so no asset waits for a new window to fill. None of these readings completes a window.
4. An asset that appears under another class starts anew there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from headwater.contract.arrival import Arrival
from headwater.contract.canonical import digest
from headwater.contract.features import FeatureSpec, Window, Windower


class Cadence(msgspec.Struct, frozen=True):
    """The part of a feature specification that decides where windows begin and end, and what is in them."""

    channels: tuple[str, ...]
    window: int
    step: int
    max_gap_s: float
    hold: int

    @classmethod
    def of(cls, spec: FeatureSpec) -> Cadence:
        """The cadence of these features."""
        return cls(spec.channels, spec.window, spec.step, spec.max_gap_s, spec.hold)

    def digest(self) -> str:
        """SHA-256 of the canonical JSON."""
        return digest(self)

    def windower(self) -> Windower:
        """An empty sliding window."""
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
    """The sliding window of an asset while it belongs to `asset_class`."""

    asset_class: str
    windower: Windower


class Windows:
    """The sliding windows of one partition."""

    def __init__(self) -> None:
        self._cadences: dict[str, Cadence] = {}
        self._tracks: dict[str, Track] = {}

    def cadence(self, asset_class: str) -> Cadence | None:
        """How windows of a class are cut at present."""
        return self._cadences.get(asset_class)

    def push(self, arrival: Arrival) -> Window | None:
        """Take the next reading of the partition; the window that it completes, if any."""
        track = self._tracks.get(arrival.asset)
        if track is None or track.asset_class != arrival.asset_class:
            self._tracks.pop(arrival.asset, None)
            cadence = self._cadences.get(arrival.asset_class)
            if cadence is None:
                return None
            track = self._tracks[arrival.asset] = Track(arrival.asset_class, cadence.windower())
        return track.windower.push(arrival.offset, arrival.reading)

    def swap(self, asset_class: str, cadence: Cadence, rewound: Iterable[Arrival]) -> list[str]:
        """Cut the windows of a class by `cadence` from here on; the assets that were filled anew from `rewound`.

        `rewound` holds readings of any class before the swap, each asset's in log order.
        """
        if self._cadences.get(asset_class) == cadence:
            return []
        self._cadences[asset_class] = cadence
        self._tracks = {asset: t for asset, t in self._tracks.items() if t.asset_class != asset_class}
        filled = _last_of_class(asset_class, rewound, cadence.window - 1)
        for asset, arrivals in filled.items():
            track = self._tracks[asset] = Track(asset_class, cadence.windower())
            for arrival in arrivals:
                track.windower.push(arrival.offset, arrival.reading)
        return list(filled)

    def snapshot(self, asset: str) -> tuple[str, dict[str, Any]] | None:
        """Class and sliding window of an asset as JSON-able values, or None where it has none."""
        track = self._tracks.get(asset)
        return (track.asset_class, track.windower.snapshot()) if track else None

    def newest_t(self, asset: str) -> int | None:
        """Sensor time in ms of the asset's newest reading, None where it has no window."""
        track = self._tracks.get(asset)
        return track.windower.newest_t if track else None

    def assets(self, asset_class: str) -> list[str]:
        """The assets that have a sliding window of this class."""
        return [asset for asset, track in self._tracks.items() if track.asset_class == asset_class]

    def set_cadence(self, asset_class: str, cadence: Cadence) -> None:
        """Declare a cadence that was in force when the snapshots were taken that `restore` brings back."""
        self._cadences[asset_class] = cadence

    def restore(self, asset: str, asset_class: str, snapshot: dict[str, Any]) -> None:
        """Bring back what `snapshot` gave under the cadence that is set; BadInput for another shape."""
        windower = self._cadences[asset_class].windower()
        windower.restore(snapshot)
        self._tracks[asset] = Track(asset_class, windower)


def _last_of_class(asset_class: str, arrivals: Iterable[Arrival], most: int) -> dict[str, deque[Arrival]]:
    """Per asset the last readings in a row of this class."""
    last: dict[str, deque[Arrival]] = {}
    for arrival in arrivals:
        if arrival.asset_class == asset_class:
            last.setdefault(arrival.asset, deque(maxlen=most)).append(arrival)
        else:
            last.pop(arrival.asset, None)
    return last


class Recent:
    """The last `most` readings of each asset of a partition."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, deque[Arrival]] = {}

    def add(self, arrival: Arrival) -> None:
        """Take the next reading of the partition."""
        self._of.setdefault(arrival.asset, deque(maxlen=self._most)).append(arrival)

    def since(self, offset: int) -> list[Arrival]:
        """Those with this offset or a later one, asset by asset."""
        return [arrival for arrivals in self._of.values() for arrival in arrivals if arrival.offset >= offset]

    def short(self, assets: Iterable[str], enough: int) -> bool:
        """Whether an asset among these or those seen has fewer readings than `enough`."""
        return any(len(self._of.get(asset, ())) < enough for asset in {*assets, *self._of})


class Expected(NamedTuple):
    """A window that must be scored exactly once, by the version of `charge`."""

    asset: str
    window: Window
    charge: Charge


def expected(arrivals: Iterable[Arrival], swaps: Sequence[Charge]) -> Iterator[Expected]:
    """The windows of one partition that must be scored, in order of their last reading.

    `arrivals` are all its usable readings in log order; `swaps` are in the order in which they were declared.
    """
    windows = Windows()
    recent = Recent(max((swap.cadence.window - 1 for swap in swaps), default=0))
    charges: dict[str, Charge] = {}
    coming = deque(sorted(swaps, key=lambda swap: swap.since))
    for arrival in arrivals:
        while coming and coming[0].since <= arrival.offset:
            swap = coming.popleft()
            windows.swap(swap.asset_class, swap.cadence, recent.since(swap.rewound_from))
            charges[swap.asset_class] = swap
        window = windows.push(arrival)
        if window is not None:
            yield Expected(arrival.asset, window, charges[arrival.asset_class])
        recent.add(arrival)
