"""From runs to figures: a ratio is given only where every system in it has done its work."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.bridge.runs import BROKER, Run
from bench.figures import NONE, median_figure
from headwater.contract.figures import Figure

OURS, STOCK, TELEGRAF = "headwater", "stock", "telegraf"
BACKLOG = 1_000_000


@dataclass
class Results:
    """Runs by system, in rounds: the nth of one system ran beside the nth of another."""

    drains: dict[str, list[Run]] = field(default_factory=dict)
    paces: dict[str, list[Run]] = field(default_factory=dict)
    backlogs: list[Run] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # a system, and why it was left out

    def faults(self) -> list[str]:
        """What was not done as promised, by anybody."""
        runs = [run for runs in (*self.drains.values(), *self.paces.values(), self.backlogs) for run in runs]
        return [run.fault for run in runs if run.fault]


def figures(results: Results) -> list[Figure]:
    """All figures of the benchmark."""
    drains, paces = results.drains, results.paces
    backlog = max((run.sent for run in results.backlogs), default=0)
    told = "" if backlog == BACKLOG else f"backlog of {backlog:,} instead of {BACKLOG:,} readings"
    return [
        _ratio(results, "bridge.cpu_vs_stock", drains, STOCK, _cpu, 15),
        _ratio(results, "bridge.cpu_vs_telegraf", drains, TELEGRAF, _cpu, 5),
        _ratio(results, "bridge.rate_vs_broker", drains, BROKER, lambda run: 1 / run.rate, 0.9),
        _own("bridge.p99_ms", paces.get(OURS, []), lambda run: run.p99_ms, "ms", 8),
        _ratio(results, "bridge.cpu_at_1000_vs_telegraf", paces, TELEGRAF, _cpu, 1.3),
        _own("bridge.rss_mb", drains.get(OURS, []), lambda run: run.peak_mb, "MB", 60),
        _own("bridge.backlog_rss_growth_mb", results.backlogs, lambda run: run.growth_mb, "MB", 10, note=told),
        _own("bridge.backlog_batch_kb", results.backlogs, lambda run: run.batch_kb, "KB", 64, better="higher"),
    ]


def _cpu(run: Run) -> float:
    return run.cpu_us


def _ratio(
    results: Results,
    name: str,
    runs: dict[str, list[Run]],
    other: str,
    cost: Callable[[Run], float],
    goal: float,
) -> Figure:
    """The other's cost over ours, round by round."""
    if other in results.skipped:
        return median_figure(name, [], "x", goal, better="higher", refused=f"skipped: {results.skipped[other]}")
    ours, theirs = runs.get(OURS, []), runs.get(other, [])
    pairs = list(zip(ours, theirs, strict=False))
    refused = _refusal([*ours, *theirs])
    values = [] if refused else [cost(their) / cost(our) for our, their in pairs]
    return median_figure(name, values, "x", goal, better="higher", refused=refused)


def _own(
    name: str,
    runs: Sequence[Run],
    value: Callable[[Run], float],
    unit: str,
    goal: float,
    *,
    note: str = "",
    better: Literal["lower", "higher"] = "lower",
) -> Figure:
    refused = _refusal(runs)
    values = [] if refused else [value(run) for run in runs]
    return median_figure(name, values, unit, goal, better=better, refused=refused, note=note)


def _refusal(runs: Iterable[Run]) -> str:
    return next((f"refused: {run.fault}" for run in runs if run.fault), "")


def rows(by_system: dict[str, list[Run]], *, paced: bool) -> list[list[str]]:
    """A row a system: medians, and for CPU the lowest and highest of several runs; a dash for what was not measured."""
    found = []
    for name, runs in by_system.items():
        cpu = [run.cpu_us for run in runs]
        speed = [f"{_middle(runs, 'rate'):,.0f}"]
        if paced:
            speed = [f"{_middle(runs, 'p50_ms'):.1f}", f"{_middle(runs, 'p99_ms'):.1f}"]
        spread = f"{min(cpu):.2f} … {max(cpu):.2f}" if len(cpu) > 1 else NONE
        peak = f"{_middle(runs, 'peak_mb'):.0f}" if any(run.peak_mb for run in runs) else NONE
        cost = [f"{_middle(runs, 'cpu_us'):.2f}", spread, peak]
        wrong = [str(sum(run.lost for run in runs)), str(sum(run.duplicates for run in runs))]
        found.append([name, str(len(runs)), *speed, *cost, *wrong])
    return found


def _middle(runs: Sequence[Run], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))
