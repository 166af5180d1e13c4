"""What became of a contest, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloud_trainer.life.words import table as of_lives

_TITLES = ("challenger", "found", "bytes", "µs", "trials", "")


def table(metrics: Mapping[str, Any]) -> list[str]:
    """Lines of the challengers in a manifest's metrics; none where there was no contest."""
    found: Sequence[Mapping[str, Any]] = metrics.get("challengers") or ()
    if not found or "contest" not in metrics:
        return []
    contest: Mapping[str, Any] = metrics["contest"]
    if contest.get("figure") == "rmse":
        return of_lives(metrics)
    rows = [_TITLES, *(_row(each) for each in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_TITLES) - 1)]
    lines = [
        f"challengers, by the share of faults found that were injected into {contest['windows_compared']:,} windows:",
        *("  " + _line(row, widths) for row in rows),
        *(f"  {name} is out: {why}" for name, why in sorted((contest.get("failed") or {}).items())),
    ]
    left_out = sum((contest.get("left_out_by_budget") or {}).values())
    if left_out:
        lines.append(f"  {left_out} more trials are beyond the budget of {contest['budget_s']:g} s")
    return lines


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    size, pace = one["size_bytes"], one["microseconds"]
    return (
        one["name"],
        f"{one['found']:.3f}",
        "-" if size is None else f"{size:,}",
        "-" if pace is None else f"{pace:.0f}",
        f"{one['trials']}",
        one["verdict"],
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *numbers = (text for text in row[:-1])
    padded = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))]
    return "  ".join([*padded, row[-1]]).rstrip()
