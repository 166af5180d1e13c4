"""What can be attacked, what stands beside it, and how a campaign of it is told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.bed import STOCK
from tests.chaos.plan import KILLS, Fault
from tests.chaos.replicator.plan import KILLS_AND_CUTS


class Named(Protocol):
    """A chapter of any part."""

    @property
    def name(self) -> str:
        """As `--chapter` takes it."""

    @property
    def faults(self) -> Sequence[Fault]:
        """What is done, in this order."""


@dataclass(frozen=True)
class Part:
    """`attacked` and `rivals`: paths of the code of ours and of what stands beside it."""

    attacked: tuple[str, ...]
    rival: str
    rivals: tuple[str, ...]
    prefix: str  # of the rival's figures
    kills: frozenset[str]
    unit: str
    legend: str
    group: Callable[[str], str]  # of a chapter, in the table of faults


BRIDGE = Part(
    ("edge_agent", "headwater"),
    STOCK,
    ("bench/bridge/stock.py",),
    "stock",
    KILLS,
    "messages",
    "MQTT/QoS/ack after",
    lambda chapter: f"ack after {chapter.split('/')[2]}",
)
MIRROR = "MirrorMaker 2"
REPLICATOR = Part(
    ("replicator", "headwater"),
    MIRROR,
    ("bench/replicator/mirror.py", "bench/replicator/mirror-jars.txt"),
    "mm2",
    KILLS_AND_CUTS,
    "records",
    "codec/batches",
    lambda chapter: chapter.rpartition("/")[0],
)
PARTS: Mapping[str, Part] = {"bridge": BRIDGE, "replicator": REPLICATOR}
