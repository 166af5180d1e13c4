"""Figures: what a demo, a benchmark or a campaign counted, beside what was promised.

One object on standard output: `{"figures": [...], "machine": {...}, "seed": ...}`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Figure(msgspec.Struct, frozen=True, omit_defaults=False):
    """One counted value; `value` is None, and `met` False, where nothing was promised or could be counted."""

    name: str
    value: float | int | None
    unit: str
    goal: float | int | None
    better: Literal["lower", "higher"]
    met: bool
    spread: tuple[float, float] | None = None
    note: str = ""


def figure(
    name: str,
    value: float | int | None,
    unit: str,
    goal: float | int | None,
    *,
    better: Literal["lower", "higher"] = "lower",
    spread: tuple[float, float] | None = None,
    note: str = "",
) -> Figure:
    """A figure, met when its value is on the right side of its goal; without a goal, met by having a value."""
    if value is None:
        met = False
    elif goal is None:
        met = True
    else:
        met = value <= goal if better == "lower" else value >= goal
    return Figure(name, value, unit, goal, better, met, spread, note)
