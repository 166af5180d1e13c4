"""What a campaign of the replicator does: shapes of the source's batches, chapters of faults, all fixed by the seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import NamedTuple

from tests.chaos.plan import (
    AT,
    CHAPTER,
    KILL,
    KILL_EARLY,
    KILL_LATE,
    KILL_QUOTA,
    STOP,
    TAKEN_OVER,
    ZOMBIE,
    Fault,
    spread,
)

SHARE_OF_KILLS_AND_CUTS = 0.74

KILL_ANSWER = "kill with an answer on the road"
TARGET_REQUEST = "cut in a request to the target"
TARGET_ANSWER = "cut in an answer of the target"
SOURCE_REQUEST = "cut in a request to the source"
SOURCE_ANSWER = "cut in an answer of the source"
LOST_ANSWER = "cut, the target's answers lost"
CUT_ALL = "cut on both sides"
TARGET_HOLE = "target black hole"
SOURCE_HOLE = "source black hole"
TARGET_RESTART = "target restarted"
TARGET_KILL = "target killed"
TARGET_PAUSE = "target paused"
SOURCE_RESTART = "source restarted"
SOURCE_KILL = "source killed"
SOURCE_PAUSE = "source paused"
EXPIRED = "producer state expired"
DROPPED = "producer state dropped"
RESTORED = "target restored"
THROTTLED = "target throttles"
EATEN = "source deletes unshipped records"

# Named points of plug/sitecustomize.py, by whether they are passed at a start or while records flow.
START_POINTS = ("journal open", "anchoring", "anchored")
FLOW_POINTS = ("half a request", "request sent", "answered", "judged", "storing positions", "positions stored")
ERA_POINTS = ("era ends", "era begun")

_WEIGHTS: Mapping[str, float] = {
    KILL: 22,
    KILL_EARLY: 12,
    KILL_LATE: 6,
    KILL_QUOTA: 3,
    KILL_ANSWER: 5,
    **{AT + point: 2.5 for point in START_POINTS},
    **{AT + point: 2.5 for point in FLOW_POINTS},
    **{AT + point: 1.5 for point in ERA_POINTS},
    TARGET_REQUEST: 7,
    TARGET_ANSWER: 7,
    SOURCE_REQUEST: 3,
    SOURCE_ANSWER: 5,
    LOST_ANSWER: 6,
    CUT_ALL: 3,
}
KILLS_AND_CUTS = frozenset(_WEIGHTS)
OTHERS = (
    TARGET_HOLE,
    SOURCE_HOLE,
    TARGET_RESTART,
    TARGET_KILL,
    TARGET_PAUSE,
    SOURCE_RESTART,
    SOURCE_KILL,
    SOURCE_PAUSE,
    EXPIRED,
    EXPIRED,
    DROPPED,
    RESTORED,
    RESTORED,
    THROTTLED,
    EATEN,
    TAKEN_OVER,
    ZOMBIE,
    STOP,
)


class Shape(NamedTuple):
    """How the source's producers compress and how many records they put into a batch."""

    codec: str
    batches: str  # single, small, large
    shared: bool = False  # the link is set up for several instances

    @property
    def name(self) -> str:
        """For people and for `--chapter`."""
        return f"{self.codec}/{self.batches}" + (" shared" if self.shared else "")


SHAPES = (
    Shape("lz4", "small"),
    Shape("none", "single"),
    Shape("zstd", "large"),
    Shape("gzip", "small"),
    Shape("snappy", "large"),
)
OF_SEVERAL = (Shape("lz4", "small", shared=True),)
_RATES: Mapping[str, tuple[float, ...]] = {
    "single": (50.0, 200.0),
    "small": (100.0, 600.0),
    "large": (300.0, 1500.0),
}


class Chapter(NamedTuple):
    """Faults that share two clusters. `delay_s` is of each direction of the road to the target."""

    combination: Shape
    number: int
    faults: tuple[Fault, ...]
    delay_s: float
    position_interval_s: float
    seed: str

    @property
    def name(self) -> str:
        """As `--chapter` takes it."""
        return f"{self.combination.name}/{self.number}"


def plan(seed: int, faults: int, shapes: tuple[Shape, ...] = SHAPES, size: int = CHAPTER) -> list[Chapter]:
    """Chapters with `faults` faults in all, spread evenly; the shapes take turns."""
    return [chapter(seed, *each) for each in spread(faults, shapes, size)]


def chapter(seed: int, shape: Shape, number: int, count: int = CHAPTER) -> Chapter:
    """One chapter: kills and cuts are `SHARE_OF_KILLS_AND_CUTS` of it, the rest takes every other kind in turn."""
    name = f"{seed}/replicator/{shape.name}/{number}/{count}"
    chance = random.Random(name)
    kinds = chance.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=math.ceil(SHARE_OF_KILLS_AND_CUTS * count))
    while len(kinds) < count:
        kinds += chance.sample(OTHERS, min(len(OTHERS), count - len(kinds)))
    chance.shuffle(kinds)
    faults = tuple(_fault(chance, kind, _RATES[shape.batches]) for kind in kinds)
    return Chapter(shape, number, faults, chance.choice((0.0, 0.0, 0.02, 0.1)), chance.choice((0.3, 1.0, 5.0)), name)


def _fault(chance: random.Random, kind: str, rates: tuple[float, ...]) -> Fault:
    return Fault(
        kind=kind,
        gap_s=chance.uniform(0.1, 0.9),
        hold_s=chance.random(),
        rate=chance.choice(rates),
        nth=chance.choice((1, 1, 2, 5)),
        patient=chance.random() < 0.7,
    )
