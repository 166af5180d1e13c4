"""How benchmarks show what they counted: a table for people, one JSON object for programs."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from headwater.contract.figures import Figure, figure

NONE = "\N{EN DASH}"  # for people: not measured
_PLAIN_WIDTH = 140


def console(*, as_json: bool) -> Console:
    """Where people read: standard error while standard output belongs to JSON."""
    found = Console(stderr=as_json, highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(stderr=as_json, highlight=False, soft_wrap=True, width=_PLAIN_WIDTH)


def median_figure(
    name: str,
    values: Sequence[float],
    unit: str,
    goal: float | None,
    *,
    better: Literal["lower", "higher"],
    refused: str = "",
    note: str = "",
) -> Figure:
    """The median of the runs, of several with lowest and highest; no value where it is `refused` or none ran."""
    if refused or not values:
        return figure(name, None, unit, goal, better=better, note=refused or "not measured")
    spread = (round(min(values), 3), round(max(values), 3)) if len(values) > 1 else None
    return figure(name, round(statistics.median(values), 3), unit, goal, better=better, spread=spread, note=note)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table; the first column is a name, the others are numbers."""
    made = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    for row in rows:
        made.add_row(*row)
    return made


def figures_table(figures: Sequence[Figure]) -> Table:
    """Each figure beside its goal."""
    made = Table(title="Figures", title_justify="left")
    for column in ("figure", "goal", "median", "spread", "", "note"):
        made.add_column(column, justify="right" if column in ("goal", "median", "spread") else "left")
    for each in figures:
        sign = "≤" if each.better == "lower" else "≥"
        goal = "" if each.goal is None else f"{sign} {each.goal:,} {each.unit}"
        value = "none" if each.value is None else f"{each.value:,} {each.unit}"
        spread = NONE if each.spread is None else f"{each.spread[0]:,} … {each.spread[1]:,}"
        verdict = "" if each.goal is None else "met" if each.met else "not met"
        made.add_row(each.name, goal, value, spread, verdict, each.note)
    return made


def as_json(figures: Sequence[Figure], seed: int | None = None, more: Mapping[str, object] | None = None) -> str:
    """One object: figures, machine, seed, and what else the benchmark has to tell."""
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }
    return msgspec.json.encode({"figures": figures, "machine": machine, "seed": seed, **(more or {})}).decode()
