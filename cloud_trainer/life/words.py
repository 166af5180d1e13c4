"""A contest of remaining life for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(metrics: Mapping[str, Any]) -> list[str]:
    """Lines of the challengers in the metrics of a manifest."""
    found: Sequence[Mapping[str, Any]] = metrics["challengers"]
    contest: Mapping[str, Any] = metrics["contest"]
    rows = [("challenger", "latents", "rmse", ""), *(_row(each) for each in found)]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    on = f"{contest['lives_compared']:,} lives left out ({contest['cycles_compared']:,} cycles)"
    lines = [
        f"challengers, by how many cycles they are off on {on}:",
        *(f"  {r[0]:<{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]}".rstrip() for r in rows),
        *(f"  {name} is out: {why}" for name, why in sorted(contest["failed"].items())),
    ]
    left_out = sum(contest["left_out_by_budget"].values())
    if left_out:
        lines.append(f"  {left_out} more trials are beyond the budget of {contest['budget_s']:g} s")
    if {"coverage", "width"} <= set(metrics):
        lines.append(f"intervals hold {metrics['coverage']:.1%} of what was left, {metrics['width']:.3g} cycles wide")
    return [*lines, *_left_out(metrics.get("lives_left_out") or {})]


def _row(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return one["name"], str(one["latents"] or "-"), f"{one['rmse']:.2f}", one["verdict"]


def _left_out(given: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = []
    for why, of in given.items():
        more = f" and {of['count'] - 5:,} more" if of["count"] > 5 else ""
        found.append(f"not learned from, {why}: {', '.join(of['names'][:5])}{more}")
    return found
