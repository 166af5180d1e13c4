"""How long swaps take, as it is seen from outside of the scorer.

A swap begins when the updater says in desired.json that a version lies verified on the disk; if no reading arrives
then, because the machines are held, with the first one that arrives after it. It ends when a score by that version is
seen in the log. What the scorer says of its own swaps is not asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.contract import headers
from headwater.contract.desired import decode_desired
from headwater.transport.kafka_batch import Record

GOAL_S = 5.0


@dataclass
class Placed:
    """A version that an updater has placed at a site; times are Unix times in ms."""

    version: int
    sha256: str  # of the .tflite
    at: int
    scored_at: int | None = None  # its first score was seen in the log of the site


class Placements:
    """Follows the desired.json of each site."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._of: dict[str, dict[tuple[str, int], Placed]] = {site: {} for site in files}

    def look(self, site: str) -> None:
        """Note what has been placed since the last look; BadInput for a file that is none."""
        try:
            data = self._files[site].read_bytes()
        except FileNotFoundError:
            return  # before the first look of the updater
        for wanted in decode_desired(data).classes.values():
            key = (wanted.sha256, wanted.placed_at)
            self._of[site].setdefault(key, Placed(wanted.version, wanted.sha256, wanted.placed_at))

    def waits(self, site: str) -> bool:
        """Whether a version was placed at the site of which no score has been seen."""
        return any(each.scored_at is None for each in self._of[site].values())

    def scored(self, site: str, records: Sequence[Record], now_ms: int) -> None:
        """Take new records of `scores`, seen at `now_ms`."""
        models = {headers.find_text(record.headers, headers.MODEL) for record in records}
        for each in self._of[site].values():
            if each.scored_at is None and each.sha256 in models:
                each.scored_at = now_ms

    def of(self, site: str) -> list[Placed]:
        """Everything that was placed at a site, in that order."""
        return sorted(self._of[site].values(), key=lambda placed: placed.at)


def swap_s(placed: Placed, readings_ms: Sequence[int]) -> float | None:
    """Seconds that the swap took; None where too few readings came after it to tell.

    `readings_ms` are the times at which readings were written to the site's log, sorted. A version that has no score
    although readings came for longer than the goal took at least as long as they came.
    """
    following = bisect_left(readings_ms, placed.at)
    if following == len(readings_ms):
        return None
    begun = readings_ms[following]
    if placed.scored_at is not None:
        return max(0, placed.scored_at - begun) / 1000
    waited = (readings_ms[-1] - begun) / 1000
    return waited if waited > GOAL_S else None


def slowest_s(placed: Sequence[Placed], readings_ms: Sequence[int]) -> float | None:
    """The longest swap of a site; None without one that can be told."""
    return max((took for each in placed if (took := swap_s(each, readings_ms)) is not None), default=None)
