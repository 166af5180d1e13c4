"""When all that waits is shipped, or why nobody can say. No I/O; times in ms since 1970."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from replicator.operating.live import LaneView, PartitionView

_LONG_MS = 300_000
_FALLS = 0.95  # of the highest that it was: a backlog below falls
NEVER = "never at this rate"
_SILENT = "unknown, nothing was acknowledged in the last 20 s"


class Outlook:
    """Of one link. `note` what waits, once a second."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque()  # when, and how many records waited

    def note(self, waiting: int, now: int) -> None:
        """So many records wait."""
        self._looks.append((now, waiting))
        while now - self._looks[0][0] > _LONG_MS:
            self._looks.popleft()

    @property
    def grows(self) -> bool:
        """Whether the backlog has grown for five minutes; one that came at once, and falls, has not."""
        began, ended = self._looks[0][0] if self._looks else 0, self._looks[-1][0] if self._looks else 0
        if ended - began < _LONG_MS * 0.9:
            return False
        middle = (began + ended) // 2
        former = [waiting for at, waiting in self._looks if at < middle]
        latter = [waiting for at, waiting in self._looks if at >= middle]
        return min(latter) > max(former) and latter[-1] >= _FALLS * max(latter)

    def eta(
        self, partitions: Sequence[PartitionView], lanes: Sequence[LaneView], goodput: float, held: str = ""
    ) -> tuple[float | None, str]:
        """Seconds until what waits is shipped at `goodput` bytes a second; or None, and why.

        `held`: why nothing is fetched at all.
        """
        waiting = [each for each in partitions if each.lag_records]
        going = [each for each in waiting if each.state != "paused" and not each.halted]
        if not going:
            stands = "" if not waiting else "paused" if any(each.state == "paused" for each in waiting) else "halted"
            return (None, held or stands) if stands else (0.0, "")
        shut = [each for each in lanes if each.shut and {part.topic for part in going} & each.topics.keys()]
        if shut:
            return None, _shut(shut)
        if goodput <= 0:
            return None, _SILENT
        if self.grows:
            return None, NEVER
        return sum(each.lag_bytes for each in going) / goodput, ""


def _shut(lanes: Sequence[LaneView]) -> str:
    """By the lane that stays shut the longest."""
    ends = [each.until for each in lanes if each.until is not None]
    by = "" if all(each.shut == "hours" for each in lanes) else " by the budget"
    if len(ends) < len(lanes):
        return f"shut{by}"
    return f"shut{by} until {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(max(ends) / 1000))}"
