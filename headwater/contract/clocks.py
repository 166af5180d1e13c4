"""How far each asset's clock is off, from readings alone.

A reading that was measured at t by the sensor's clock and received at r has r - t = offset + delay, and no delay is
negative. So the smallest r - t of some time is the best estimate of the offset: positive where the sensor's clock is
behind, negative where it is ahead (the idea of the clock filter of NTP, RFC 5905, section 10). Nothing waits for a
clock and no time is put right: sensor time, time of receipt and log time stay apart in each record, and windows follow
the log.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from headwater.contract.canonical import canonical_json
from headwater.contract.errors import BadInput

SPAN_MS = 60_000  # an estimate is the smallest of one to two spans
MOST_ASSETS = 10_000
TOLD_AGAIN_MS = 3_600_000
WORTH_TELLING_MS = 1000


class Skew(NamedTuple):
    """`skew_ms`: what to add to the asset's clock, network delay included; seen in `readings` of the last spans."""

    skew_ms: int
    readings: int


class ClockRecord(msgspec.Struct, frozen=True):
    """Value of a record of `clocks`, key asset."""

    asset: str
    skew_ms: int
    readings: int
    at: int  # ms, when it was estimated
    v: int = 1

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self)


def decode_clock(value: bytes) -> ClockRecord:
    """A record of `clocks`; BadInput when it is none."""
    try:
        return msgspec.json.decode(value, type=ClockRecord)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"not a record of clocks: {error}") from error


class _Asset:
    __slots__ = ("before", "counted", "least", "readings", "since_ms", "told_at", "told_ms")

    def __init__(self, now_ms: int, offset_ms: int) -> None:
        self.since_ms = now_ms
        self.least = offset_ms
        self.before: int | None = None  # of the last span
        self.readings = 0
        self.counted = 0
        self.told_ms: int | None = None
        self.told_at = 0


class Clocks:
    """Estimates of up to 10,000 assets; further ones are counted in `unseen`."""

    def __init__(self) -> None:
        self.unseen = 0
        self._assets: dict[str, _Asset] = {}

    def observe(self, asset: str, sensor_ms: int, received_ms: int) -> None:
        """Take note of one reading; a sample of the readings is enough."""
        offset = received_ms - sensor_ms
        found = self._assets.get(asset)
        if found is None:
            if len(self._assets) >= MOST_ASSETS:
                self.unseen += 1
                return
            found = self._assets[asset] = _Asset(received_ms, offset)
        if abs(received_ms - found.since_ms) >= SPAN_MS:  # our own clock may be set back
            found.before, found.least, found.since_ms = found.least, offset, received_ms
            found.counted, found.readings = found.readings, 0
        found.least = min(found.least, offset)
        found.readings += 1

    def skews(self) -> dict[str, Skew]:
        """The estimate of each asset."""
        return {asset: self._skew(found) for asset, found in self._assets.items()}

    def news(self, now_ms: int) -> list[ClockRecord]:
        """What is worth telling: estimates that moved by a second, are new, or were told an hour ago."""
        told = []
        for asset, found in self._assets.items():
            skew = self._skew(found)
            moved = found.told_ms is None or abs(skew.skew_ms - found.told_ms) >= WORTH_TELLING_MS
            if moved or now_ms - found.told_at >= TOLD_AGAIN_MS:
                found.told_ms, found.told_at = skew.skew_ms, now_ms
                told.append(ClockRecord(asset, skew.skew_ms, skew.readings, now_ms))
        return told

    def _skew(self, found: _Asset) -> Skew:
        least = found.least if found.before is None else min(found.least, found.before)
        return Skew(least, found.counted + found.readings)
