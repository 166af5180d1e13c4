"""`python -m bench.skab --data DIR`: anomaly detection on whatever recordings of the rig a folder holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import typer
from rich.console import Console

from bench.figures import as_json as to_json
from bench.figures import console, figures_table, median_figure, table
from bench.skab import controls, search
from bench.skab.detector import Setting, chosen
from bench.skab.protocol import Counts, File, Nab, files, pooled
from bench.skab.shipped import EPISODES_A_WEEK, Shipped
from headwater.contract.episodes import Flags
from headwater.contract.errors import BadInput, GateFailed, HeadwaterError
from headwater.contract.figures import Figure, figure

_SEEDS = (1, 2, 3)
SHIPPED = f"headwater train run, alarms_a_week = {EPISODES_A_WEEK:g}"
_CAUSAL = "strictly causal, trained on the first 400 rows of each file"


class Results(NamedTuple):
    """Rows of the table, and what has figures."""

    rows: dict[str, Counts]
    bests: list[Setting]  # of each search, chosen on all files
    left: list[Counts]
    across: list[Counts]
    changes: Nab
    metronome: Nab
    seconds: float
    note: str


def main(
    data: Path = typer.Option(..., help="Folder of recordings: a sub-folder a group, a file a machine."),
    settings: int = typer.Option(400, min=1, help="Settings that the search tries, in every fold anew."),
    workers: int = typer.Option(2, min=1, help="Files at a time."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Judge what `headwater train run` makes for a budget of false alarms, beside searches, controls and a clock.

    Recordings without labels are left out. Limits and margin come from training rows, channels are chosen without
    labels. Searches try rules of episodes on T² of each file.

    Example:  python -m bench.skab --data ../shared/data/skab/data
    """
    out = console(as_json=as_json)
    try:
        labelled = [each for each in files(data) if each.labels is not None]
        if not labelled:
            raise BadInput(f"no recording below {data} has the column `anomaly`", hint="python -m bench.false_alarms")
        channels = chosen(labelled)
        names = [name for name, used in zip(labelled[0].channels, channels, strict=True) if used]
        out.print(f"{len(labelled)} recordings, channels: {', '.join(names)}")
        results = _run(labelled, channels, settings, workers, out)
    except HeadwaterError as error:
        out.print(f"bench.skab: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    rows = [(name, f"{c.f1:.3f}", f"{c.far:.1f}", f"{c.mar:.1f}") for name, c in results.rows.items()]
    out.print(table(f"Rows in alarm; {_CAUSAL}", ("detector", "F1", "FAR %", "MAR %"), rows))
    found = figures(results, settings)
    out.print(figures_table(found))
    for best in results.bests:
        out.print(f"best of a search on all files: window {best.window}, {best.rule}")
    if as_json:
        typer.echo(to_json(found, seed=_SEEDS[0], more={"rows": {k: v._asdict() for k, v in results.rows.items()}}))


def _run(labelled: list[File], channels: Flags, number: int, workers: int, out: Console) -> Results:
    began = time.monotonic()
    rows, note = {}, ""
    try:
        made = Shipped(labelled, EPISODES_A_WEEK)
        note = f"margin {made.margin:.2f}; rule, window and budget were chosen on public files of this rig"
        rows[SHIPPED] = made.judged(labelled)
        for group in dict.fromkeys(each.group for each in labelled):
            rows[f"  of these {group}"] = made.judged([f for f in labelled if f.group == group])
        rows["the same, 7 a week"] = Shipped(labelled, 7.0).judged(labelled)
    except GateFailed as error:
        note = f"not trained: {error}"
        out.print(note)
    seconds = time.monotonic() - began
    product = controls.ours(Setting())
    rows["episodes on T² of each file, margin 1.75"] = controls.judged(labelled, channels, product)
    bests, left, across = [], [], []
    for seed in _SEEDS:
        out.print(f"search {seed}: {number} settings on {len(labelled)} recordings")
        tried = search.run(labelled, channels, search.settings(number, seed), workers)
        place = search.best(tried, np.arange(len(labelled)))
        bests.append(tried.settings[place])
        rows[f"search {seed}, chosen on these files"] = pooled(Counts(*c) for c in tried.counts[place])
        left.append(search.leave_one_out(tried))
        rows[f"search {seed}, one file left out"] = left[-1]
        other = search.across(tried, [each.group for each in labelled])
        if other is not None:
            across.append(other)
            rows[f"search {seed}, one group left out"] = other
    rows |= {
        "every row": controls.judged(labelled, channels, controls.always),
        "clock alone, rows 170 to 569": controls.judged(labelled, channels, controls.clock),
        "T², static": controls.judged(labelled, channels, controls.static),
        "episodes on T², rows shuffled": controls.shuffled(labelled, channels, product, _SEEDS[0]),
        "episodes on T², 200 healthy rows before": controls.shifted(labelled, channels, product),
        "clock alone, 200 healthy rows before": controls.shifted(labelled, channels, controls.clock),
    }
    changes = controls.changepoints(labelled, channels)
    blind = controls.metronome(labelled, changes.false)
    return Results(rows, bests, left, across, changes, blind, seconds, note)


def figures(results: Results, size: int) -> list[Figure]:
    """Headline, what stands beside it, and the changepoints."""
    ours, changes, blind = results.rows.get(SHIPPED), results.changes, results.metronome
    note = f"{size} settings searched anew in every fold, by {len(results.left)} seeds"

    def f1(name: str, found: list[Counts], refused: str = "") -> Figure:
        values = [each.f1 for each in found]
        return median_figure(name, values, "", 0.83, better="higher", refused=refused, note=note)

    return [
        figure("skab.f1", ours and round(ours.f1, 3), "", 0.87, better="higher", note=results.note),
        figure("skab.far", ours and round(ours.far, 2), "%", 8),
        figure("skab.mar", ours and round(ours.mar, 2), "%", 19),
        f1("skab.f1_leave_one_file_out", results.left),
        f1("skab.f1_cross_group", results.across, "" if results.across else "the folder has one group"),
        figure(
            "skab.nab",
            round(changes.score, 1) if changes.changes else None,
            "",
            50,
            better="higher",
            note=f"{changes.changes} changepoints; a metronome at {blind.false} false ones gets {blind.score:.1f}",
        ),
        figure("skab.nab_false", changes.false, "changepoints", 100),
        figure(
            "skab.seconds",
            round(results.seconds, 1),
            "s",
            None,
            note="training and judging all files, and their groups",
        ),
    ]


if __name__ == "__main__":
    typer.run(main)
