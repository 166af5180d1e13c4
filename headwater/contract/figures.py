"""Figures: what a demo, a benchmark or a campaign counted, beside what was promised.

One object on standard output: `{"figures": [...], "machine": {...}, "seed": ...}`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Figure(msgspec.Struct, frozen=True, omit_defaults=False):
    """One counted value; `value` is None, and `met` False, where what has a goal could not be promised or counted.

    Without a goal `met` is None, and `better` only where a lower or higher value is better at all.
    """

    name: str
    value: float | int | None
    unit: str
    goal: float | int | None
    better: Literal["lower", "higher"] | None
    met: bool | None
    spread: tuple[float, float] | None = None
    note: str = ""


def figure(
    name: str,
    value: float | int | None,
    unit: str,
    goal: float | int | None,
    *,
    better: Literal["lower", "higher"] | None = None,
    spread: tuple[float, float] | None = None,
    note: str = "",
) -> Figure:
    """A figure, met when its value is on the right side of its goal: `better` is "lower" unless said otherwise."""
    if goal is None:
        return Figure(name, value, unit, None, better, None, spread, note)
    better = better or "lower"
    met = value is not None and (value <= goal if better == "lower" else value >= goal)
    return Figure(name, value, unit, goal, better, met, spread, note)
