"""What a campaign does: combinations of settings, chapters of some fifty faults, all of it fixed by the seed.

A chapter's plan depends on the seed, its combination and its number alone, so one can be repeated without the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from edge_agent.bridge.settings import BridgeSettings

CHAPTER = 50  # faults that share one set of services
SHARE_OF_KILLS = 0.74

KILL = "kill"
KILL_EARLY = "kill while starting"
KILL_LATE = "kill, writes arrive late"
KILL_QUOTA = "kill under quota"
AT = "kill at: "
MQTT_CUT = "mqtt cut"
MQTT_HALF = "mqtt cut in a packet"
MQTT_HOLE = "mqtt black hole"
MQTT_RESTART = "mqtt restarted"
MQTT_KILL = "mqtt killed"
KAFKA_PAUSE = "kafka paused"
KAFKA_RESTART = "kafka restarted"
KAFKA_KILL = "kafka killed"
KAFKA_HOLE = "kafka black hole"
KAFKA_CUT = "kafka cut"
KAFKA_BETWEEN = "kafka restarted behind the fence"
KAFKA_KILL_BETWEEN = "kafka killed behind the fence"
DISK_FULL = "disk full"
TAKEN_OVER = "taken over"
ZOMBIE = "taken over while stopped"
STOLEN = "client id stolen"
STOP = "clean stop"

# Named points of plug/sitecustomize.py, by whether they are passed at a start or while messages flow.
START_POINTS = ("in the fence", "fenced", "in the tails", "before subscribe", "first redelivery")
FLOW_POINTS = ("taken", "half a request", "request sent", "written", "half acknowledged", "acknowledged")
# Where a life is held while Kafka restarts: its fence stands, nothing of it is written.
BETWEEN_POINTS = ("fenced", "before subscribe", "taken")
SPOOL_POINTS = ("appended", "synced", "drained")

C = TypeVar("C")

_WEIGHTS: Mapping[str, float] = {
    KILL: 32,
    KILL_EARLY: 18,
    KILL_LATE: 6,
    KILL_QUOTA: 5,
    **{AT + point: 2.5 for point in (*START_POINTS, *FLOW_POINTS)},
}
_SPOOL_WEIGHTS: Mapping[str, float] = {**_WEIGHTS, **{AT + point: 4 for point in SPOOL_POINTS}}
KILLS = frozenset(_SPOOL_WEIGHTS)
OTHERS = (
    MQTT_CUT,
    MQTT_CUT,
    MQTT_HALF,
    MQTT_HOLE,
    MQTT_RESTART,
    MQTT_KILL,
    MQTT_KILL,
    KAFKA_PAUSE,
    KAFKA_RESTART,
    KAFKA_KILL,
    KAFKA_HOLE,
    KAFKA_CUT,
    KAFKA_BETWEEN,
    KAFKA_KILL_BETWEEN,
    DISK_FULL,
    TAKEN_OVER,
    ZOMBIE,
    STOLEN,
    STOP,
)
_OF_LEADERS = (KAFKA_KILL, KAFKA_BETWEEN, KAFKA_KILL_BETWEEN, KAFKA_PAUSE, KAFKA_RESTART, MQTT_CUT)  # without a relay


class Combination(NamedTuple):
    """Settings of the bridge under which everything must hold."""

    protocol: str
    qos: int
    ack_after: str
    brokers: int = 1  # of Kafka
    sparkplug: bool = False  # what comes in is of a Sparkplug edge node

    @property
    def name(self) -> str:
        """For people and for `--chapter`."""
        more = (f" x{self.brokers}" if self.brokers > 1 else "") + (" sparkplug" if self.sparkplug else "")
        return f"{self.protocol}/{self.qos}/{self.ack_after}{more}"


class Fault(NamedTuple):
    """One fault, and what the load does before it."""

    kind: str
    gap_s: float  # before it
    hold_s: float  # how long it lasts, or when within a start it strikes
    rate: float  # messages a second
    nth: int  # which passing of a named point
    patient: bool  # wait until the bridge is subscribed again, or go on at once


class Chapter(NamedTuple):
    """Faults that share one set of services."""

    combination: Combination
    number: int
    faults: tuple[Fault, ...]
    kept: bool  # the MQTT broker saves on every change, so that it may be killed
    delay_s: float  # of each direction of the road to MQTT
    seed: str

    @property
    def name(self) -> str:
        """As `--chapter` takes it."""
        return f"{self.combination.name}/{self.number}"


def leader_changes() -> list[Combination]:
    """Those that are tried on three brokers too."""
    return [Combination("5", 1, "kafka", 3), Combination("3.1.1", 2, "spool", 3)]


def of_sparkplug() -> list[Combination]:
    """Those that are tried with a Sparkplug edge node too."""
    return [Combination("5", 1, "kafka", sparkplug=True), Combination("3.1.1", 2, "kafka", sparkplug=True)]


def combinations() -> list[Combination]:
    """All that this version of the bridge knows."""
    modes = ("kafka", "spool") if "ack_after" in BridgeSettings.model_fields else ("kafka",)
    return [Combination(protocol, qos, mode) for mode in modes for protocol in ("5", "3.1.1") for qos in (1, 2)]


def plan(seed: int, faults: int, wanted: Sequence[Combination], size: int = CHAPTER) -> list[Chapter]:
    """Chapters with `faults` faults in all, spread evenly; the combinations take turns."""
    return [chapter(seed, *each) for each in spread(faults, wanted, size)]


def spread(faults: int, wanted: Sequence[C], size: int = CHAPTER) -> list[tuple[C, int, int]]:
    """Combination, number and faults of each chapter."""
    shares = [faults // len(wanted) + (place < faults % len(wanted)) for place in range(len(wanted))]
    found = []
    for number in range(math.ceil(max(shares) / size)):
        for combination, share in zip(wanted, shares, strict=True):
            count = min(size, share - number * size)
            if count > 0:
                found.append((combination, number, count))
    return found


def chapter(seed: int, combination: Combination, number: int, count: int = CHAPTER) -> Chapter:
    """One chapter; kills are `SHARE_OF_KILLS` of it, rounded up, and the rest takes every other kind in turn."""
    name = f"{seed}/{combination.name}/{number}/{count}"
    chance = random.Random(name)
    kept = number % 2 == 1
    kills = math.ceil(SHARE_OF_KILLS * count)
    weights = dict(_WEIGHTS if combination.ack_after == "kafka" else _SPOOL_WEIGHTS)
    others: Sequence[str] = OTHERS
    if combination.brokers > 1:
        del weights[KILL_LATE], weights[KILL_QUOTA]  # they need the relay, and its one broker's settings
        others = _OF_LEADERS
    kinds = chance.choices(list(weights), list(weights.values()), k=kills)
    while len(kinds) < count:
        deck = [MQTT_RESTART if kind == MQTT_KILL and not kept else kind for kind in others]
        kinds += chance.sample(deck, min(len(deck), count - len(kinds)))
    chance.shuffle(kinds)
    faults = tuple(_fault(chance, kind, kept) for kind in kinds)
    return Chapter(combination, number, faults, kept, chance.choice((0.0, 0.01, 0.03)), name)


def _fault(chance: random.Random, kind: str, kept: bool) -> Fault:
    return Fault(
        kind=kind,
        gap_s=chance.uniform(0.1, 0.9),
        hold_s=chance.random(),
        rate=chance.choice((40.0, 100.0) if kept else (50.0, 250.0, 600.0)),
        nth=chance.choice((1, 1, 2, 5)),
        patient=chance.random() < 0.7,
    )
