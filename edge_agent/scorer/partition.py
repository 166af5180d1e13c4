"""What the scorer holds in memory of one partition of `readings`. No I/O."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from edge_agent.scorer.models import Id
from edge_agent.scorer.sketching import Sketcher
from headwater.contract import topics
from headwater.contract.alarm import AlarmState
from headwater.contract.checkpoint import AssetState, Left
from headwater.contract.following import Following
from headwater.contract.messages import Void
from headwater.contract.windows import Charge, Windows

READINGS = "readings"
WINDOWS = "windows"
BEFORE_MODEL = "before_model"
DEAD_LETTERS = "dead_letters"
NOT_FINITE = "not_finite"
UNHEEDED = "unheeded"  # operators called an episode false, and nothing came of it
UNPLACED = "unplaced"  # readings of a class with lives that lacked a setting, and so were no cycles
MISSED = "missed"  # readings that the log dropped before they were read

OUTPUTS = (topics.SCORES, topics.ALARMS, topics.DEAD_LETTERS)


@dataclass(slots=True)
class Memory:
    """What is remembered of one asset beside its window; `alarm_class` is the class of its last score."""

    alarm_class: str = ""
    alarm: AlarmState = AlarmState()  # noqa: RUF009  # frozen
    windows: int = 0
    not_finite: int = 0
    following: Following | None = None
    followed_by: str = ""  # Manifest.episodes_digest
    saved: dict[str, Any] | None = None  # what `following` is restored from once its model is loaded
    void_since: int = -1
    void_t: int = 0  # sensor time then, ms
    unheeded: int = 0
    left: Left | None = None

    def alarm_in(self, asset_class: str) -> AlarmState:
        """The alarm state before a score of this class: an asset that changes its class starts anew."""
        return self.alarm if asset_class == self.alarm_class else AlarmState()


@dataclass
class Partition:
    """`position` is the next reading; every output of a reading below it is acknowledged.

    `tails` are the highest source offsets that a former life has written, by topic (-1: none). `ahead` has the assets
    whose restored state stands for more than `position`: their readings below that offset are passed over.
    """

    number: int
    position: int = 0
    windows: Windows = field(default_factory=Windows)
    memories: dict[str, Memory] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    tails: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTPUTS, -1))
    ahead: dict[str, int] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    dead_letters_from: int = 0
    sketcher: Sketcher | None = None
    checkpointed: int = -1  # `upto` of the last checkpoint, -1 before the first

    def settled(self, *, can_score: bool = True) -> int:
        """The highest offset that a former life may have judged; -1 if none.

        Without the model in charge only what that life has scored is passed over: an alarm whose score is missing has
        its window scored by the version that takes over.
        """
        tails = self.tails.values() if can_score else [self.tails[topics.SCORES]]
        return max(*tails, *(upto - 1 for upto in self.ahead.values()), -1)

    def count(self, what: str, by: int = 1) -> None:
        """Add to a count of this partition."""
        self.counts[what] = self.counts.get(what, 0) + by

    def memory(self, asset: str) -> Memory:
        """Memory of an asset."""
        memory = self.memories.get(asset)
        if memory is None:
            memory = self.memories[asset] = Memory()
        return memory

    def totals(self) -> dict[str, int]:
        """All counts, those of the assets summed."""
        windows = sum(memory.windows for memory in self.memories.values())
        not_finite = sum(memory.not_finite for memory in self.memories.values())
        unheeded = self.counts.get(UNHEEDED, 0) + sum(memory.unheeded for memory in self.memories.values())
        return {**self.counts, WINDOWS: windows, NOT_FINITE: not_finite, UNHEEDED: unheeded}

    def void(self) -> list[Void]:
        """The machines whose limits do not hold, the longest first."""
        found = [
            Void(asset, memory.alarm_class, self.number, memory.void_since, memory.void_t)
            for asset, memory in self.memories.items()
            if memory.void_since >= 0
        ]
        return sorted(found, key=lambda one: (one.t, one.asset))

    def state_of(self, asset: str) -> AssetState:
        """What is written to the topic `state` for an asset."""
        memory = self.memories[asset]
        asset_class, window = self.windows.snapshot(asset) or ("", None)
        cadence = self.windows.cadence(asset_class)
        return AssetState(
            upto=max(self.position, self.ahead.get(asset, 0)),
            asset_class=asset_class,
            cadence=cadence.digest() if cadence else "",
            window=window,
            alarm_class=memory.alarm_class,
            alarm=memory.alarm,
            windows=memory.windows,
            not_finite=memory.not_finite,
            followed_by=memory.followed_by,
            episodes=memory.saved if memory.following is None else memory.following.snapshot(),
            unheeded=memory.unheeded,
            void_since=memory.void_since,
            void_t=memory.void_t,
            left=memory.left,
            renewed=self.windows.renewed.get(asset, -1),
        )

    def unloaded(self, loaded: Collection[Id]) -> list[Charge]:
        """The versions in charge that cannot score."""
        return [c for c in self.charges.values() if Id.of(c.asset_class, c) not in loaded]
