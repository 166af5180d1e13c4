"""`python -m bench.false_alarms --data DIR…`: alarms where nothing is wrong, beside what the same settings find."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import typer
from rich.console import Console

from bench.false_alarms import conformal
from bench.false_alarms.series import read, row_s
from bench.figures import NONE, console, figures_table, table
from bench.figures import as_json as to_json
from bench.skab.detector import Setting, chosen, trace
from bench.skab.protocol import TRAINED, Counts, File, count, episodes, pooled
from cloud_trainer.calibration.budget import margin
from headwater.contract.episodes import EpisodeRule, Flags, Floats
from headwater.contract.errors import BadInput, HeadwaterError
from headwater.contract.figures import Figure, figure

_WEEK_S = 7 * 24 * 3600.0
_WINDOW = 8
_NORMAL_SHARE = 0.8  # of a recording without faults or with few of them: those that the excess is counted on
_COLUMNS = (
    "recording",
    "method",
    "weeks",
    "margin",
    "false episodes",
    "excess",
    "normal rows in alarm %",
    "void since row",
)

Method = Callable[[Floats, Flags], tuple[Flags, Flags | None]]  # values, labels behind TRAINED: alarm, void


class Calm(NamedTuple):
    """What a method did on a recording that is mostly normal."""

    file: File
    method: str
    weeks: float
    margin: float | None
    episodes: int
    excess: float
    rows: float  # share of the normal rows
    void_after: int | None  # rows


def main(
    data: list[Path] = typer.Option(..., help="Folders of recordings; give it once for each."),
    budget: float = typer.Option(7.0, min=0.01, help="Episodes a machine and week that are bearable."),
    look_after: int = typer.Option(120, min=1, help="Rows after which the operator calls a false episode false."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Count episodes that nobody would want, with a margin for the budget, and what the same settings find.

    Recordings without labels are normal throughout; of NAB's series what lies outside the labelled windows. With
    acknowledgement, an operator looks at each episode once and calls it false where nothing was wrong up to then.

    Example:  python -m bench.false_alarms --data ../shared/data/skab/data --data ../shared/data/nab
    """
    out = console(as_json=as_json)
    try:
        found = read(data)
        calm, faulty = _sorted(found)
        told = _calm(calm, calm + faulty, budget, look_after, out)
        figures = _figures(told, faulty, budget, look_after, out)
    except HeadwaterError as error:
        out.print(f"bench.false_alarms: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    out.print(table(f"A budget of {budget:g} episodes a machine and week", _COLUMNS, [_row(each) for each in told]))
    out.print(figures_table(figures))
    if as_json:
        typer.echo(to_json(figures, more={"recordings": [_row(each) for each in told]}))


def _sorted(found: list[list[File]]) -> tuple[list[File], list[File]]:
    """Recordings that are mostly normal, and those with faults."""
    each = [file for folder in found for file in folder]
    calm = [file for file in each if file.judged.mean() <= 1 - _NORMAL_SHARE]
    faulty = [file for file in each if file.judged.mean() > 1 - _NORMAL_SHARE]
    if not calm:
        raise BadInput("no recording is normal for most of its time", hint="name a folder with such recordings")
    return calm, faulty


def _setting(files: list[File], channels: Flags, budget: float) -> Setting:
    """Window and rule as they ship, the margin for the budget from the training rows of these machines together.

    A machine alone has too few rows for that; it has the rule's own margin.
    """
    rule = EpisodeRule()
    healthy = [each.values[:TRAINED, channels] for each in files]
    try:
        found = margin(healthy, budget, max(row_s(each) for each in files), _WINDOW, rule.onset).margin
    except BadInput:
        return Setting(_WINDOW, rule)
    return Setting(_WINDOW, msgspec.structs.replace(rule, margin=found))


def _ours(look_after: int | None, setting: Setting) -> Method:
    def run(values: Floats, labels: Flags) -> tuple[Flags, Flags | None]:
        traced = trace(values, [setting], look_after, labels)
        return traced.alarm[:, 0], traced.void[:, 0]

    return run


def _methods(look_after: int, setting: Setting) -> dict[str, Method]:
    return {
        "headwater, acknowledged": _ours(look_after, setting),
        "headwater, nobody looks": _ours(None, setting),
        "static conformal": lambda values, _: (conformal.static(values), None),
        "adaptive conformal": lambda values, _: (conformal.adaptive(values), None),
    }


def _calm(calm: list[File], each: list[File], budget: float, look_after: int, out: Console) -> list[Calm]:
    found = []
    for file in calm:
        alike = [other for other in each if other.channels == file.channels]
        channels = chosen(alike)
        values, setting = file.values[:, channels], _setting(alike, channels, budget)
        out.print(f"{file.name}: {len(file.t):,} rows")
        weeks = float((~file.judged).sum()) * row_s(file) / _WEEK_S
        for name, method in _methods(look_after, setting).items():
            alarm, void = method(values, file.judged)
            false = sum(not file.judged[start:end].any() for start, end in episodes(alarm))
            rows = count(alarm, file.judged).far / 100
            first = None if void is None or not void.any() else int(np.argmax(void)) + 1
            used = setting.rule.margin if name.startswith("headwater") else None
            found.append(Calm(file, name, weeks, used, false, false - budget * weeks, rows, first))
    return found


def _row(one: Calm) -> tuple[str, ...]:
    void = NONE if one.void_after is None else f"{one.void_after:,}"
    used = NONE if one.margin is None else f"{one.margin:.2f}"
    numbers = (f"{one.weeks:.2f}", used, f"{one.episodes}", f"{one.excess:.1f}", f"{100 * one.rows:.1f}", void)
    return (one.file.name, one.method, *numbers)


def _figures(told: list[Calm], faulty: list[File], budget: float, look_after: int, out: Console) -> list[Figure]:
    ours = [each for each in told if each.method == "headwater, acknowledged"]
    alone = [each for each in told if each.method == "headwater, nobody looks"]
    worst = max(ours, key=lambda each: each.excess)
    void_after = [each.void_after for each in alone if each.file.labels is None]
    looks = f"an operator looks after {look_after} rows"
    found = [
        figure("false_alarms.excess", round(worst.excess, 2), "episodes", 4, note=f"{looks}; worst: {worst.file.name}"),
        figure("false_alarms.rows", round(100 * max(each.rows for each in ours), 2), "%", 5, note=looks),
        figure("false_alarms.excess_alone", round(max(each.excess for each in alone), 2), "episodes", None),
        figure("false_alarms.rows_alone", round(100 * max(each.rows for each in alone), 2), "%", None),
        figure(
            "false_alarms.void_after",
            max(600 + 1 if after is None else after for after in void_after) if void_after else None,
            "rows",
            600,
            note="on recordings without labels; 601 where it never is",
        ),
    ]
    return found + _found(faulty, budget, look_after, out)


def _found(faulty: list[File], budget: float, look_after: int, out: Console) -> list[Figure]:
    """What the same settings find: once, and with a second fault after the first."""
    if not faulty:
        return [figure(name, None, "", goal, better="higher", note="no recording with faults") for name, goal in _GOALS]
    channels = chosen(faulty)
    setting = _setting(faulty, channels, budget)
    once: dict[str, list[Counts]] = {}
    twice: list[Counts] = []
    void = normal = 0
    for file in faulty:
        values = file.values[:, channels]
        again = np.vstack([values, values[TRAINED:]])
        labels = np.concatenate([file.judged, file.judged])
        for name, method in _methods(look_after, setting).items():
            alarm, is_void = method(values, file.judged)
            once.setdefault(name, []).append(count(alarm, file.judged))
            if name == "headwater, nobody looks" and is_void is not None:
                void, normal = void + int((is_void & ~file.judged).sum()), normal + int((~file.judged).sum())
        twice.append(count(_ours(look_after, setting)(again, labels)[0], labels))
    totals = {name: pooled(counts) for name, counts in once.items()}
    rows = [(name, f"{c.f1:.3f}", f"{c.far:.1f}", f"{c.mar:.1f}") for name, c in totals.items()]
    out.print(table(f"{len(faulty)} recordings with faults", ("method", "F1", "FAR %", "MAR %"), rows))
    values_of = (totals["headwater, nobody looks"].f1, pooled(twice).f1)
    return [
        *(
            figure(name, round(value, 3), "", goal, better="higher")
            for (name, goal), value in zip(_GOALS, values_of, strict=True)
        ),
        figure("false_alarms.void_normal", round(100 * void / max(1, normal), 1), "%", 20, note="normal rows of these"),
    ]


_GOALS = (("false_alarms.skab_f1", 0.85), ("false_alarms.twice_f1", 0.82))


if __name__ == "__main__":
    typer.run(main)
