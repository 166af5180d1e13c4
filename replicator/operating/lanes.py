"""What is said of each lane: what waits in it, what it gets of the link, and whether it may send now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from replicator.links.governor import FIRST_SHARE
from replicator.links.lines import Lines
from replicator.links.settings import LinkSettings
from replicator.operating.live import LaneView, PartitionView


def shares(weights: Sequence[float]) -> list[float]:
    """Of the link for each lane, by the lanes' weights, while more waits in all of them than it carries.

    A weight of 0: nothing can wait there, its share is the others'.
    """
    if len(weights) == 1 or not sum(weights):
        return [1.0] * len(weights)
    first = min(weights[0] / sum(weights), FIRST_SHARE)
    others = sum(weights[1:])
    return [first, *((1 - first) * weight / others if others else 0.0 for weight in weights[1:])]


def lanes(settings: LinkSettings, partitions: Sequence[PartitionView], lines: Lines | None) -> list[LaneView]:
    """All lanes of a link, the first one first; `lines` once there are some."""
    names = settings.lane_names
    used = {settings.lane_of(each.topic) for each in partitions} or set(range(len(names)))
    weights = [weight if number in used else 0.0 for number, weight in enumerate(settings.weights)]
    found = []
    for number, (name, share) in enumerate(zip(names, shares(weights), strict=True)):
        mine = [each for each in partitions if settings.lane_of(each.topic) == number]
        shut = None if lines is None else lines.shut.get(number)
        found.append(
            LaneView(
                name,
                share,
                topics=dict(sorted(Counter(each.topic for each in mine).items())),
                lag_records=sum(each.lag_records for each in mine),
                lag_bytes=sum(each.lag_bytes for each in mine),
                age_ms=max((each.age_ms for each in mine if each.age_ms is not None), default=None),
                sent_bytes=0 if lines is None else lines.governor.sent_bytes[number],
                shut="" if shut is None else shut.why,
                until=None if shut is None else int(shut.until.timestamp() * 1000),
            )
        )
    return found
