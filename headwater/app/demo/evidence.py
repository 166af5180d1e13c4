"""What the demo saw: kept while it runs, counted and drawn at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headwater.app.plant.publisher import Machine
from headwater.contract.figures import Figure
from headwater.contract.messages import Alarm

Asset = tuple[str, str]  # site, asset


def left_out(excluded: Mapping[str, int]) -> str:
    """How many records a training left out, and why."""
    why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(excluded.items()) if count)
    return f"{sum(excluded.values()):,} left out" + (f" ({why})" if why else "")


@dataclass
class Trace:
    """Readings of one asset: sensor times in ms and values by channel."""

    t: list[int] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)


@dataclass
class ScoreTrace:
    """Scores of one asset in log order: sensor time of the window's end, score, threshold, version of the model."""

    t: list[int] = field(default_factory=list)
    score: list[float | None] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    version: list[int] = field(default_factory=list)


@dataclass
class Learned:
    """What one version of a model learned from."""

    version: int
    offsets: dict[str, dict[str, tuple[int, int]]]
    records: int
    excluded: dict[str, int]
    dataset_sha256: str
    seconds: float  # from the request to its publication
    thresholds: dict[str, float]


@dataclass
class Episode:
    """An alarm with the wall time (Unix seconds) at which the demo saw it in the cloud."""

    alarm: Alarm
    seen_at: float


@dataclass
class Marks:
    """What the scenario noted while it ran."""

    kills: int = 0
    published_at_rollout: dict[Machine, int] = field(default_factory=dict)  # readings before the first model was active
    killed_at: list[tuple[float, str]] = field(default_factory=list)  # Unix seconds, and what
    learned: list[Learned] = field(default_factory=list)
    refusals: dict[int, tuple[str, str]] = field(default_factory=dict)  # bad version: reason it must have, and has
    rollback_bytes: int | None = None
    memory_mb: dict[str, float | None] = field(default_factory=dict)  # by site


@dataclass
class Evidence:
    """Everything that the table and the report are made of."""

    title: str = ""
    about: dict[str, str] = field(default_factory=dict)  # what was asked for, and when
    programs: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    readings: dict[Asset, Trace] = field(default_factory=dict)
    scores: dict[Asset, ScoreTrace] = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    faults: dict[Asset, list[tuple[int, int]]] = field(default_factory=dict)  # from, to in ms: the truth
    swaps: list[tuple[str, int, int]] = field(default_factory=list)  # site, version, sensor time in ms
    lag: dict[str, list[tuple[float, int]]] = field(default_factory=dict)  # site: seconds, records
    kills: list[tuple[float, str]] = field(default_factory=list)  # seconds on the same clock, and of what
    learned: list[Learned] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
