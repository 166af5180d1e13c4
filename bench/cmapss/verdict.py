"""Figures of a run, and how they are shown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from bench.cmapss.edge import Cost
from bench.cmapss.protocols import HEADLINE, MOST, PROTOCOLS, Answer, Protocol
from bench.figures import NONE, table
from cloud_trainer.life.histories import Floats
from headwater.contract.figures import Figure, figure
from headwater.contract.life import LifeSpec

_GOALS: Mapping[str, Mapping[str, float]] = {
    "": {"FD001": 9.6, "FD002": 9.6, "FD003": 9.6, "FD004": 9.6},
    "_own": {"FD001": 10.4, "FD002": 9.7, "FD003": 10.4, "FD004": 9.8},
    "_window": {"FD001": 12.0, "FD002": 12.5, "FD003": 11.6, "FD004": 13.5},
}
_WIDTH = 24.0
_PROMISED = 0.9
_UNKNOWN = "the folder has no labels of its test engines"


def rmse(predicted: Floats, truth: Floats) -> float:
    """Root of the mean squared error, in cycles."""
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def score(predicted: Floats, truth: Floats) -> float:
    """The sum of the contest's penalty: exp(-d / 13) - 1 where it is too early, exp(d / 10) - 1 too late (PHM 2008)."""
    off = predicted - truth
    return float(np.sum(np.where(off < 0, np.expm1(-off / 13), np.expm1(off / 10))))


class Results:
    """What was answered, and what is true; `truths` has None for a set without labels."""

    def __init__(self, subsets: Sequence[str], truths: Mapping[str, Floats | None]) -> None:
        self.subsets = subsets
        self.truths = truths
        self.answers: list[Answer] = []
        self.yardsticks: dict[str, dict[str, list[Floats]]] = {}
        self.intervals: dict[str, LifeSpec] = {}
        self.spans: dict[str, list[tuple[float, float]]] = {}  # of each training of the headline: begin and end, s
        self.costs: dict[str, Cost] = {}

    def predicted(self, name: str, subset: str) -> list[Floats]:
        """Predictions by seed of a protocol or yardstick for the test engines of a set."""
        ours = [a for a in self.answers if a.task.protocol.name == name and not a.task.is_checked]
        ours.sort(key=lambda answer: answer.task.seed)
        return [a.predicted[subset] for a in ours if subset in a.predicted] or self.yardsticks.get(name, {}).get(
            subset, []
        )

    def checked(self, name: str, subset: str) -> float | None:
        """Error of cross-validation on training engines, over all cycles that were asked."""
        for answer in self.answers:
            if answer.task.is_checked and answer.task.protocol.name == name and subset in answer.predicted:
                return rmse(answer.predicted[subset], answer.left[subset])
        return None

    def seconds(self, subset: str) -> float | None:
        """From the begin of the headline's first training to the end of its last one."""
        spans = self.spans.get(subset)
        return None if spans is None else round(max(end for _, end in spans) - min(begin for begin, _ in spans), 1)

    def names(self) -> list[str]:
        """Rows of the table."""
        return [*(protocol.name for protocol in PROTOCOLS), *self.yardsticks]


def shown(results: Results) -> list[Table]:
    """For each set a row a protocol: error and score by seed, and cross-validation."""
    columns = ("protocol", "seeds", "RMSE, mean ± sd", "score", "RMSE, cross-validated")
    return [
        table(f"{subset}: labels and predictions cut to {MOST:.0f}, last row of each test engine", columns, rows)
        for subset in results.subsets
        if (rows := [_row(results, name, subset) for name in results.names()])
    ]


def _row(results: Results, name: str, subset: str) -> tuple[str, ...]:
    found, truth = results.predicted(name, subset), results.truths[subset]
    checked = results.checked(name, subset)
    errors = [] if truth is None else [rmse(each, truth) for each in found]
    return (
        name,
        str(len(found)),
        _mean_and_sd(errors),
        NONE if truth is None or not found else f"{statistics.mean(score(each, truth) for each in found):,.0f}",
        NONE if checked is None else f"{checked:.2f}",
    )


def _mean_and_sd(values: Sequence[float]) -> str:
    if not values:
        return NONE
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0:.2f}"


def figures(results: Results) -> list[Figure]:
    """By set: the mean error over the seeds, with lowest and highest; coverage and width of intervals; seconds."""
    found = [_error(results, protocol, subset) for protocol in PROTOCOLS for subset in results.subsets]
    for subset in results.subsets:
        found += _intervals(results, subset)
        note = "training, all seeds, as many at a time as --workers says"
        found.append(figure(f"cmapss.seconds_{subset.lower()}", results.seconds(subset), "s", 60, note=note))
    return found + _costs(results)


def _costs(results: Results) -> list[Figure]:
    costs = list(results.costs.values())
    runtime = costs[0].runtime if costs else "not measured"

    def worst(name: str, unit: str, goal: float) -> Figure:
        values = [float(getattr(each, name)) for each in costs]
        return figure(f"cmapss.{name}", round(max(values), 6) if values else None, unit, goal, note=runtime)

    return [
        worst("bytes", "bytes", 24 * 1024),
        worst("network_us", "µs", 5),
        worst("cycle_us", "µs", 50),
        worst("off", "cycles", 1e-3),
    ]


def _error(results: Results, protocol: Protocol, subset: str) -> Figure:
    truth, found = results.truths[subset], results.predicted(protocol.name, subset)
    goal = _GOALS[protocol.key].get(subset)
    checked = results.checked(protocol.name, subset)
    name = f"cmapss.rmse{protocol.key}_{subset.lower()}"
    note = "" if checked is None else f"cross-validated {checked:.2f}"
    if truth is None or not found:
        why = _UNKNOWN if truth is None else "not trained"
        return figure(name, None, "cycles", goal, note="; ".join(filter(None, (why, note))))
    errors = [rmse(each, truth) for each in found]
    spread = (round(min(errors), 3), round(max(errors), 3))
    return figure(name, round(statistics.mean(errors), 3), "cycles", goal, spread=spread, note=note)


def _intervals(results: Results, subset: str) -> list[Figure]:
    names = f"cmapss.coverage_{subset.lower()}", f"cmapss.width_{subset.lower()}"
    truth, found = results.truths[subset], results.predicted(HEADLINE.name, subset)
    intervals = results.intervals.get(subset)
    if intervals is None or not found:
        return [
            figure(name, None, unit, None, note="not trained") for name, unit in zip(names, ("", "cycles"), strict=True)
        ]
    low, high = intervals.of(found[0])
    width = figure(names[1], round(float(np.mean(high - low)), 2), "cycles", _WIDTH, note="of 90 % intervals, seed 0")
    if truth is None:
        return [figure(names[0], None, "share", None, note=_UNKNOWN), width]
    covered = float(np.mean((low <= truth) & (truth <= high)))
    spread = 2 * math.sqrt(_PROMISED * (1 - _PROMISED) / len(truth))
    least = round(_PROMISED - spread, 3)
    note = f"0.9 promised; two binomial deviations are {least:.3f} to {min(1.0, _PROMISED + spread):.3f}"
    return [figure(names[0], round(covered, 3), "share", least, better="higher", note=note), width]
