"""From runs to figures: a ratio is given only where every system in it has made a true copy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.figures import NONE, median_figure
from bench.replicator.runs import Run
from bench.replicator.systems import LOOP, OURS, STOCK, TUNED
from headwater.contract.figures import Figure, figure

_RATIOS = (
    ("replicator.cpu_vs_mm2_1k", "1k", TUNED, 10),
    ("replicator.cpu_vs_mm2_1k_zstd", "1k_zstd", TUNED, 25),
    ("replicator.cpu_vs_mm2_100b", "100b", TUNED, 30),
    ("replicator.cpu_vs_loop_1k", "1k", LOOP, 3),
    ("replicator.cpu_vs_loop_zstd", "1k_zstd", LOOP, 15),
    ("replicator.cpu_vs_loop_single", "100b_single", LOOP, 1),
    ("replicator.cpu_tls_vs_mm2_tls_1k", "1k_tls", TUNED, 8),
)


@dataclass
class Results:
    """Runs by case and system, in rounds."""

    copies: dict[tuple[str, str], list[Run]] = field(default_factory=dict)
    paces: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # p50 and p99 in ms
    new_topics: dict[str, list[float]] = field(default_factory=dict)  # seconds
    skipped: dict[str, str] = field(default_factory=dict)  # a system, and why it was left out
    faults: list[str] = field(default_factory=list)

    def keep(self, run: Run) -> None:
        """Take a run."""
        self.copies.setdefault((run.case, run.system), []).append(run)
        if run.fault:
            self.faults.append(run.fault)


def figures(results: Results) -> list[Figure]:
    """All figures that the issue names, and stock MirrorMaker beside them."""
    found = [_ratio(results, *each) for each in _RATIOS]
    found += [
        _ratio(results, name.replace("mm2", "mm2_stock"), case, STOCK, None)
        for name, case, other, _ in _RATIOS
        if other == TUNED
    ]
    peaks = [run.peak_mb for (_, system), runs in results.copies.items() if system == OURS for run in runs]
    p99 = [each[1] for each in results.paces.get(OURS, [])]
    return [
        *found,
        median_figure("replicator.rss_mb", [max(peaks)] if peaks else [], "MB", 60, better="lower", note="most of all"),
        median_figure("replicator.p99_ms", p99, "ms", 10, better="lower"),
        median_figure("replicator.new_topic_s", results.new_topics.get(OURS, []), "s", 10, better="lower"),
    ]


def _ratio(results: Results, name: str, case: str, other: str, goal: float | None) -> Figure:
    """The median of our records a CPU-second over that of the other's; its spread is that of the rounds' ratios."""
    refused = results.skipped.get(other, "")
    ours, theirs = results.copies.get((case, OURS), []), results.copies.get((case, other), [])
    refused = refused or next((f"refused: {run.fault}" for run in (*ours, *theirs) if run.fault), "")
    if refused or not ours or not theirs:
        return figure(name, None, "x", goal, better="higher", note=refused or "not measured")
    value = _middle([run.per_cpu_s for run in ours]) / _middle([run.per_cpu_s for run in theirs])
    rounds = [mine.per_cpu_s / their.per_cpu_s for mine, their in zip(ours, theirs, strict=False)]
    spread = (round(min(rounds), 3), round(max(rounds), 3)) if len(rounds) > 1 else None
    told = "ratio of the medians; spread of the rounds' ratios" if spread else ""
    return figure(name, round(value, 3), "x", goal, better="higher", spread=spread, note=told)


def rows(results: Results) -> list[list[str]]:
    """A row a case and system: medians, and the spread of records a CPU-second."""
    found = []
    for (case, system), runs in results.copies.items():
        good = [run for run in runs if not run.fault]
        if not good:
            found.append([case, system, str(len(runs)), *[NONE] * 5])
            continue
        cpu = [run.per_cpu_s for run in good]
        spread = f"{min(cpu):,.0f} … {max(cpu):,.0f}" if len(cpu) > 1 else NONE
        middle = [_middle([getattr(run, name) for run in good]) for name in ("per_s", "first_s", "peak_mb")]
        found.append(
            [
                case,
                system,
                str(len(good)),
                f"{_middle(cpu):,.0f}",
                spread,
                f"{middle[0]:,.0f}",
                f"{middle[1]:.1f}",
                f"{middle[2]:,.0f}",
            ]
        )
    return found


def _middle(values: Sequence[float]) -> float:
    return float(statistics.median(values))
