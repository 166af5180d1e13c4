"""What follows the network: alarm episodes of a machine whose healthy state moves.

One row is the mean of a window of readings, scaled. For each:

1. The deviation is the row less the baseline, in healthy limits of each channel. The network says how far that is in
   its own limits; the score is the larger of that and of the largest channel.
2. While no episode is open the baseline follows the rows, by at most `follow` limits a row, and not while a row is over
   the margin. `onset` rows over the margin in a row open an episode.
3. While one is open the baseline stands still, and the fault's direction is a mean of the last deviations. It closes
   after `recovery` rows in a row under `level` of the margin, where the machine is back; or with less than `share` of
   the fault's direction left, or after `longest` rows, where the present state becomes the baseline.
4. For `settle` rows after an episode the margin is `settle_margin` times as wide: the machine is still moving.
5. Only an operator who calls an episode false raises the margin for good, by `raised`; that closes it as well.
6. Limits hold for the state that they were learned in. `is_void` says that a slow mean (`void_rows`) has moved from it
   by `void_share` of a limit or more: until somebody calibrates, the promise about false alarms does not hold.

A row that is not finite changes nothing. Trainer and edge run the same code; every lane is summed in the same order,
whatever stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from headwater.contract.errors import BadInput

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
_TINY = 1e-9
_FAR = 1e6  # in limits, or scaled units: what is beyond is as far


class EpisodeRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When episodes open and close; counts are rows, `follow` and `void_share` are in healthy limits."""

    margin: float = 1.75
    onset: int = 2
    follow: float = 0.001
    level: float = 0.5
    share: float = 0.3
    recovery: int = 10
    memory: int = 10
    settle: int = 200
    settle_margin: float = 3.0
    longest: int = 500
    raised: float = 1.5
    void_rows: int = 100
    void_share: float = 1.0

    def check(self) -> None:
        """Raise BadInput for a rule that could never open or close, or that follows whatever comes."""
        counts = (self.onset, self.recovery, self.memory, self.longest, self.void_rows)
        factors = (10 * self.margin, self.settle_margin, self.raised, 10 * self.void_share)
        if not all(1 <= count <= 1_000_000 for count in counts) or not 0 <= self.settle <= 1_000_000:
            raise BadInput(f"{self}: counts of rows are 1 to 1,000,000, settle may be 0")
        if not all(1 <= factor <= 1_000 for factor in factors):
            raise BadInput(f"{self}: margin and void_share are 0.1 to 100, settle_margin and raised 1 to 1,000")
        if not (0 <= self.follow < 1 and 0 < self.level <= 1 and 0 <= self.share < 1):
            raise BadInput(f"{self}: follow and share are 0 to below 1, level is over 0 to 1")


class Verdict(NamedTuple):
    """What a row meant for each lane. `rebased`: it closed, and the present state is the baseline now."""

    score: Floats  # in limits
    margin: Floats  # that the score was held against
    is_open: Flags
    opened: Flags
    closed: Flags
    rebased: Flags
    is_void: Flags


class Episodes:
    """The states of some machines, or of one under several rules, side by side.

    `rules`: one for all lanes, or one each. `centre` and `limits` [lanes, channels] in scaled units; limits over 0.
    """

    def __init__(self, rules: EpisodeRule | Sequence[EpisodeRule], centre: Floats, limits: Floats) -> None:
        lanes, channels = centre.shape
        each = [rules] * lanes if isinstance(rules, EpisodeRule) else list(rules)
        for rule in dict.fromkeys(each):
            rule.check()
        if limits.shape != centre.shape or len(each) != lanes or not channels:
            raise BadInput(f"{len(each)} rules, centres {centre.shape} and limits {limits.shape} do not fit each other")
        if not ((np.abs(centre) <= _FAR).all() and (limits >= 1 / _FAR).all() and (limits <= _FAR).all()):
            raise BadInput(f"centres are within {_FAR:g}, limits are over 0: {1 / _FAR:g} to {_FAR:g}")
        self._rule = {name: np.array([getattr(r, name) for r in each]) for name in EpisodeRule.__struct_fields__}
        self._limits = np.ascontiguousarray(limits, dtype=np.float64)
        self._centre = start = np.ascontiguousarray(centre, dtype=np.float64)
        self._state: dict[str, npt.NDArray[Any]] = {
            **{name: start.copy() for name in ("baseline", "slow", "last")},
            "direction": np.zeros((lanes, channels)),
            **{name: np.zeros(lanes, dtype=np.int64) for name in ("over", "low", "back", "taken", "settling", "age")},
            "raised": np.ones(lanes),
            "is_open": np.zeros(lanes, dtype=np.bool_),
        }

    @property
    def baseline(self) -> Floats:
        """Where each machine is taken to be healthy now [lanes, channels]."""
        return np.asarray(self._state["baseline"])

    def stand_at(self, baseline: Floats) -> None:
        """Take the machines to be healthy at `baseline` [lanes, channels], wherever they were calibrated."""
        if baseline.shape != self._limits.shape or not np.isfinite(baseline).all():
            raise BadInput(f"a baseline {baseline.shape} for {self._limits.shape} lanes and channels, or not finite")
        self._state["baseline"] = np.array(baseline, dtype=np.float64)
        for name in ("slow", "last"):
            self._state[name] = self._state["baseline"].copy()

    def deviation(self, rows: Floats) -> Floats:
        """What the network is asked about: rows [lanes, channels] less the baselines, in limits."""
        return np.asarray((rows - self._state["baseline"]) / self._limits)

    def push(self, rows: Floats, network: Floats) -> Verdict:
        """Take the next row of every lane; `network` [lanes] is its answer to `deviation(rows)`, in its limits."""
        state, rule = self._state, self._rule
        deviation = self.deviation(rows)
        score = np.maximum(np.abs(deviation).max(axis=1), network)
        usable = np.isfinite(score)
        was_open = state["is_open"].copy()
        margin = rule["margin"] * state["raised"]
        held = margin * np.where(~was_open & (state["settling"] > 0), rule["settle_margin"], 1.0)
        with np.errstate(invalid="ignore"):
            opened = self._watch(usable & ~was_open, rows, score > held)
            closed, rebased = self._wait(usable & was_open, deviation, score < rule["level"] * margin)
            self._begin(opened, deviation)
            state["last"] = np.where(usable[:, None], rows, state["last"])
            self._close(closed, rebased)
        return Verdict(score, held, state["is_open"].copy(), opened, closed, rebased, self.is_void())

    def _watch(self, quiet: Flags, rows: Floats, is_over: Flags) -> Flags:
        """Count rows over the margin, and follow the others; which lanes open."""
        state, rule = self._state, self._rule
        state["over"] = np.where(quiet, np.where(is_over, state["over"] + 1, 0), state["over"])
        state["settling"] = np.where(quiet, np.maximum(state["settling"] - 1, 0), state["settling"])
        most = rule["follow"][:, None] * self._limits
        step = np.clip(rows - state["baseline"], -most, most)
        state["baseline"] += np.where((quiet & ~is_over)[:, None], step, 0.0)
        gain = (rows - state["slow"]) / rule["void_rows"][:, None]
        state["slow"] += np.where(quiet[:, None], gain, 0.0)
        return np.asarray(quiet & (state["over"] >= rule["onset"]))

    def _wait(self, waiting: Flags, deviation: Floats, is_low: Flags) -> tuple[Flags, Flags]:
        """Look for the end of what is open, and learn its direction; which lanes close, and of these are rebased."""
        state, rule = self._state, self._rule
        direction = state["direction"]
        length = (direction * direction).sum(axis=1)
        left = (deviation * direction).sum(axis=1) / np.maximum(length, _TINY)
        is_back = left < rule["share"]
        state["age"] += waiting
        state["low"] = np.where(waiting, np.where(is_low, state["low"] + 1, 0), state["low"])
        state["back"] = np.where(waiting, np.where(is_back, state["back"] + 1, 0), state["back"])
        returned = waiting & (state["low"] >= rule["recovery"])
        rebased = waiting & ~returned & ((state["back"] >= rule["recovery"]) | (state["age"] >= rule["longest"]))
        learns = waiting & ~returned & ~rebased & ~is_back
        weight = np.minimum(state["taken"] + 1, rule["memory"])[:, None]
        direction += np.where(learns[:, None], (np.clip(deviation, -_FAR, _FAR) - direction) / weight, 0.0)
        state["taken"] += learns
        return np.asarray(returned | rebased), np.asarray(rebased)

    def _begin(self, opened: Flags, deviation: Floats) -> None:
        state = self._state
        state["is_open"] |= opened
        bounded = np.clip(deviation, -_FAR, _FAR)
        state["direction"] = np.where(opened[:, None], bounded, state["direction"])
        for name, value in (("taken", 1), ("age", 0), ("low", 0), ("back", 0)):
            state[name] = np.where(opened, value, state[name])

    def _close(self, closed: Flags, rebased: Flags) -> None:
        state = self._state
        state["is_open"] &= ~closed
        state["over"] = np.where(closed, 0, state["over"])
        state["settling"] = np.where(closed, self._rule["settle"], state["settling"])
        for name in ("baseline", "slow"):
            state[name] = np.where(rebased[:, None], state["last"], state[name])

    @property
    def raised(self) -> Floats:
        """By how much operators have raised the margins [lanes]."""
        return np.asarray(self._state["raised"])

    def raise_to(self, raised: Floats) -> None:
        """Take margins that operators have raised under another calibration [lanes]; never below what they are."""
        self._state["raised"] = np.maximum(self._state["raised"], np.clip(raised, 1.0, _FAR))

    def reopen(self, rows: Floats) -> None:
        """Episodes of all lanes are open: rows [lanes, channels] say where their faults lead."""
        self._begin(np.ones(len(self._limits), dtype=np.bool_), self.deviation(rows))

    def acknowledge_false(self, lane: int = 0) -> bool:
        """An operator says that what is open is no fault: it closes, what is there is the baseline, the margin rises.

        False when nothing is open.
        """
        chosen = np.arange(len(self._limits)) == lane
        closed = chosen & self._state["is_open"]
        self._state["raised"] = np.where(closed, self._state["raised"] * self._rule["raised"], self._state["raised"])
        self._close(closed, closed)
        return bool(closed.any())

    def is_void(self) -> Flags:
        """For which lanes the limits no longer describe where the machine runs."""
        moved = np.abs(self._state["slow"] - self._centre) / self._limits
        return np.asarray(moved.max(axis=1) >= self._rule["void_share"])

    def snapshot(self, lane: int = 0) -> dict[str, Any]:
        """The whole state of a lane as JSON-able values; floats read back to the same bits."""
        return {name: part[lane].tolist() for name, part in self._state.items()}

    def called_false(self, lane: int = 0) -> Episodes | None:
        """What one lane would be if an operator called what is open false now; None when nothing is open."""
        rule = EpisodeRule(**{name: part[lane].item() for name, part in self._rule.items()})
        found = Episodes(rule, self._centre[lane][None], self._limits[lane][None])
        found.restore(self.snapshot(lane))
        return found if found.acknowledge_false() else None

    def restore(self, snapshot: Mapping[str, Any], lane: int = 0) -> None:
        """Take over a state that `snapshot` gave for as many channels; BadInput for another shape."""
        try:
            found = {name: np.array(snapshot[name], dtype=part.dtype) for name, part in self._state.items()}
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"not a state of alarm episodes: {error}") from error
        for name, part in self._state.items():
            if found[name].shape != part[lane].shape or not np.isfinite(found[name]).all():
                raise BadInput(f"a state of alarm episodes of other channels, or not finite: {name}")
        for name, part in self._state.items():
            part[lane] = found[name]
