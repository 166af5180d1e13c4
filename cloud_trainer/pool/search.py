"""The contest for an asset class: who is fitted, who finds most, who ships.

1. Each family's hyper-parameters: with several trials each is fitted to the first part of what may be fitted and held
   against faults in the rest of it; the best is fitted once more, to all. A later trial is better only beyond chance.
   What is held out is not looked at.
2. The families are held against each other on the held-out windows, with faults of another seed.
3. T² ships, or principal components where they find more beyond chance. A network or a mixture ships only if it finds
   more than both, beyond chance. A yardstick never ships.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from cloud_trainer.pool import contest
from cloud_trainer.pool.budget import Sizes, plan
from cloud_trainer.pool.contest import Arena, Result
from cloud_trainer.pool.detector import Detector, Healthy, Member
from cloud_trainer.pool.estimators import Estimator
from cloud_trainer.pool.hotelling import PCA, T2
from cloud_trainer.progress import bar
from cloud_trainer.recipe import Recipe
from headwater.contract.errors import GateFailed, Permanent
from headwater.transport import tflite

_CHOSEN_ON = 0.25  # last share of the windows to fit that hyper-parameters are chosen on
_LEAST_WINDOWS = 24  # of which one in a hundred is no count, but one in twenty is
_MOST_WINDOWS = 2_000  # in an arena: more take longer and change little
_TIMED = 300  # windows


@dataclass(frozen=True)
class Challenger:
    """What became of one family: `found` on held-out windows, in all and by kind of fault."""

    name: str
    found: float
    kinds: dict[str, float]
    settings: dict[str, float | int | str]
    trials: int
    took_s: float
    size_bytes: int | None  # None for what does not ship
    microseconds: float | None  # a window, in the runtime that is installed here
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """As the manifest's metrics have it."""
        return {
            "name": self.name,
            "found": round(self.found, 4),
            "kinds": {kind: round(share, 4) for kind, share in self.kinds.items()},
            "settings": self.settings,
            "trials": self.trials,
            "took_s": round(self.took_s, 3),
            "size_bytes": self.size_bytes,
            "microseconds": None if self.microseconds is None else round(self.microseconds, 1),
            "verdict": self.verdict,
        }


@dataclass
class _Entry:
    member: Member
    detector: Detector
    result: Result
    trials: int
    took_s: float
    model: bytes | None
    microseconds: float | None


@dataclass(frozen=True)
class Outcome:
    """The family and the detector that ship, and what became of all, as the manifest's metrics have it."""

    name: str
    detector: Detector
    report: dict[str, Any]


def run(fitted: Healthy, held_out: Healthy, recipe: Recipe) -> Outcome:
    """Let the pool compete; windows are scaled [n, window, channels].

    GateFailed where there are too few to judge, BadSetting where a yardstick's name is none. A family that cannot be
    fitted, does not score or that the runtime refuses is out, with its reason; the others go on.
    """
    began = time.monotonic()
    count = sum(map(len, held_out.values()))
    if count < _LEAST_WINDOWS:
        raise GateFailed(
            f"{count} healthy windows are held out, {_LEAST_WINDOWS} are needed for a contest",
            hint="name a longer range, or do without: --budget 0",
        )
    _, window, channels = next(iter(fitted.values())).shape
    planned = plan(recipe, Sizes(sum(map(len, fitted.values())), window, channels))
    for each in (each for members in planned.trials.values() for each in members if isinstance(each, Estimator)):
        each.resolve()
    arena = contest.arena(held_out, recipe.seed + 1, _MOST_WINDOWS)
    done, total = 0, sum(map(len, planned.trials.values()))
    entries: dict[str, _Entry] = {}
    failed: dict[str, str] = {}
    chosen_on = _Chosen(fitted, recipe.seed)
    with bar("detectors compete", total) as shown:
        for name, members in planned.trials.items():
            try:
                entries[name] = _enter(members, fitted, arena, chosen_on)
            except Permanent as error:
                if name == T2:
                    raise
                failed[name] = f"{error}"
            done += len(members)
            shown(done)
    name, challengers = _verdicts(entries)
    contest_of = {
        "budget_s": recipe.budget_s,
        "seed": recipe.seed,
        "planned_s": round(planned.seconds, 2),
        "took_s": round(time.monotonic() - began, 2),
        "windows_compared": len(arena),
        "left_out_by_budget": planned.left_out,
        "failed": failed,
    }
    report = {"contest": contest_of, "challengers": [each.to_json() for each in challengers]}
    return Outcome(name, entries[name].detector, report)


class _Chosen:
    """Where hyper-parameters are chosen: what is fitted there, and the arena behind it."""

    def __init__(self, fitted: Healthy, seed: int) -> None:
        at = {key: int(len(windows) * (1 - _CHOSEN_ON)) for key, windows in fitted.items()}
        self.first = {key: windows[: at[key]] for key, windows in fitted.items() if at[key]}
        rest = {key: windows[at[key] :] for key, windows in fitted.items()}
        self.arena = contest.arena(rest, seed, _MOST_WINDOWS)
        self.is_enough = min(sum(map(len, self.first.values())), len(self.arena)) >= _LEAST_WINDOWS
        self.seed = seed


def _enter(members: list[Member], fitted: Healthy, arena: Arena, chosen_on: _Chosen) -> _Entry:
    """The best of a family, fitted to all that may be fitted."""
    began = time.monotonic()
    best = _best(members, chosen_on) if len(members) > 1 and chosen_on.is_enough else members[0]
    detector = best.fit(fitted, chosen_on.seed)
    result = contest.compete(detector, arena)
    model = detector.export()
    took_s = time.monotonic() - began
    return _Entry(best, detector, result, len(members), took_s, model, None if model is None else _microseconds(model))


def _best(members: list[Member], chosen_on: _Chosen) -> Member:
    """The first member, unless a later one finds more beyond chance than the best before it."""
    best, most = members[0], None
    for each in members:
        result = contest.compete(each.fit(chosen_on.first, chosen_on.seed), chosen_on.arena)
        if most is None or result.margin_over(most) > 0:
            best, most = each, result
    return best


def _verdicts(entries: dict[str, _Entry]) -> tuple[str, list[Challenger]]:
    """The name of what ships, and what is said of each, those that found most first."""
    linear = PCA if PCA in entries and entries[PCA].result.margin_over(entries[T2].result) > 0 else T2
    able = {name: entry for name, entry in entries.items() if entry.model is not None and name not in (T2, PCA)}
    better = [name for name, entry in able.items() if not _losses(entry, entries)]
    ships = max(better, key=lambda name: entries[name].result.found, default=linear)
    said = [_challenger(name, entry, _verdict(name, ships, entries)) for name, entry in entries.items()]
    return ships, sorted(said, key=lambda each: -each.found)


def _losses(entry: _Entry, entries: dict[str, _Entry]) -> list[str]:
    """The linear models that it is not better than beyond chance."""
    return [name for name in (PCA, T2) if name in entries and entry.result.margin_over(entries[name].result) <= 0]


def _verdict(name: str, ships: str, entries: dict[str, _Entry]) -> str:
    entry = entries[name]
    if name == ships:
        return "ships"
    if entry.model is None:
        return "a yardstick, never ships"
    if name not in (T2, PCA) and (lost := _losses(entry, entries)):
        apart = min(entry.result.margin_over(entries[other].result) for other in lost)
        return f"does not beat {' and '.join(lost)} beyond chance (lower bound {apart:+.3f})"
    return f"{ships} finds more" if entry.result.found < entries[ships].result.found else "no better beyond chance"


def _challenger(name: str, entry: _Entry, verdict: str) -> Challenger:
    size = None if entry.model is None else len(entry.model)
    result, pace = entry.result, entry.microseconds
    return Challenger(
        name, result.found, result.kinds, entry.member.settings, entry.trials, entry.took_s, size, pace, verdict
    )


def _microseconds(data: bytes) -> float:
    model = tflite.Model(data)
    rows = np.zeros((_TIMED, model.features), np.float32)
    began = time.perf_counter()
    model.score(rows)
    return (time.perf_counter() - began) / _TIMED * 1e6
