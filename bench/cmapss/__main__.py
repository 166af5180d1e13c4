"""`python -m bench.cmapss --data DIR`: remaining life of turbofans, under every protocol."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from bench.cmapss import verdict, yardsticks
from bench.cmapss.edge import cost
from bench.cmapss.protocols import HEADLINE, MOST, PROTOCOLS, Answer, Protocol, Task, answer, fleet, partners
from bench.cmapss.verdict import Results
from bench.figures import as_json as to_json
from bench.figures import console, figures_table
from cloud_trainer.life import training
from cloud_trainer.life.export import export
from cloud_trainer.life.histories import Floats
from cloud_trainer.life.intervals import calibrate
from headwater.contract.errors import BadInput, HeadwaterError
from headwater.transport import cmapss


def main(
    data: Path = typer.Option(..., help="Folder with train_FD001.txt, test_FD001.txt and, if known, RUL_FD001.txt."),
    subset: list[str] = typer.Option([], help="Sets to ask about, such as FD001; all that the folder has."),
    predictions: Path = typer.Option(
        None,
        help="CSV file for unit, rul, low and high of each test engine; of several sets one file each, OUT-FD001.csv.",
    ),
    seeds: int = typer.Option(5, min=1, help="Trainings of each network."),
    workers: int = typer.Option(2, min=1, help="Trainings at a time."),
    quick: bool = typer.Option(False, "--quick", help="One seed, and the headline's protocol alone: half a minute."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Train on engines that ran to failure, and predict the remaining cycles of others after their last row.

    Labels are cut to 125 cycles in training and test. Settings were chosen by cross-validation on training engines.
    Predictions are those of the first seed, and 90 % intervals are calibrated on training engines left out.

    Example:  python -m bench.cmapss --data ../shared/data/cmapss --subset FD001 --predictions fd001.csv
    """
    out = console(as_json=as_json)
    try:
        results = _run(data, subset, 1 if quick else seeds, workers, quick=quick, out=out)
        for name in results.subsets:
            if predictions is not None:
                _write(_path(predictions, name, results.subsets), results, name, data, out)
    except HeadwaterError as error:
        out.print(f"bench.cmapss: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    for each in verdict.shown(results):
        out.print(each)
    found = verdict.figures(results)
    out.print(figures_table(found))
    if as_json:
        typer.echo(to_json(found, seed=0))


def _run(data: Path, named: Sequence[str], seeds: int, workers: int, *, quick: bool, out: Console) -> Results:
    there = cmapss.subsets(data)
    unknown = sorted(set(named) - set(there))
    if unknown:
        raise BadInput(f"{data} has no set {', '.join(unknown)}", hint=f"there is: {', '.join(there)}")
    subsets = list(dict.fromkeys(named)) or there
    results = Results(subsets, {name: _truth(data, name) for name in subsets})
    checks = _checks(subsets, there, PROTOCOLS[:1] if quick else PROTOCOLS)
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        tried = _answers(pool, data, checks, results, out, "choosing")
        chosen = _chosen(tried)
        for each in chosen:
            _keep(results, each)
        tasks = [
            replace(each.task, is_checked=False, seed=seed, asked=_asked(each.task, subsets))
            for each in chosen
            for seed in range(seeds)
        ]
        for each in _answers(pool, data, tasks, results, out, "training"):
            _keep(results, each)
        if not quick:
            _compare(results, data, there, pool)
    _cost(results, data)
    return results


def _checks(subsets: Sequence[str], there: Sequence[str], protocols: Sequence[Protocol]) -> list[Task]:
    found: dict[Task, None] = {}
    for protocol in protocols:
        for name in subsets:
            trained_on = partners(name, there) if protocol.is_paired else (name,)
            for recipe in training.candidates(protocol.recipe):
                found[Task(protocol, recipe, trained_on, trained_on, 0, is_checked=True)] = None
    return list(found)


def _asked(task: Task, subsets: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in subsets if name in task.trained_on)


def _answers(
    pool: ProcessPoolExecutor, data: Path, tasks: Sequence[Task], results: Results, out: Console, doing: str
) -> list[Answer]:
    found = []
    answers = pool.map(answer, [data] * len(tasks), tasks)
    for each in track(answers, doing, len(tasks), console=out, disable=not out.is_terminal):
        found.append(each)
        if not out.is_terminal:
            out.print(_told(each, results))
    return found


def _chosen(tried: Sequence[Answer]) -> list[Answer]:
    """Of each protocol and training set the candidate that cross-validation likes best."""
    groups: dict[tuple[str, tuple[str, ...]], list[Answer]] = {}
    for each in tried:
        groups.setdefault((each.task.protocol.name, each.task.trained_on), []).append(each)
    return [
        group[training.best([each.checked for each in group if each.checked], group[0].task.recipe)]
        for group in groups.values()
    ]


def _truth(data: Path, name: str) -> Floats | None:
    found = cmapss.remaining(data, name, len(cmapss.units(data, "test", name)))
    return None if found is None else np.minimum(found, MOST)


def _keep(results: Results, one: Answer) -> None:
    results.answers.append(one)
    task = one.task
    if task.protocol != HEADLINE:
        return
    for name in task.asked:
        if not task.is_checked:
            results.spans.setdefault(name, []).append((one.began, one.ended))
        elif len(one.predicted[name]):
            results.intervals[name] = calibrate(one.predicted[name], one.left[name], task.recipe, one.lives[name])


def _told(one: Answer, results: Results) -> str:
    task = one.task
    pairs = one.left if task.is_checked else {name: results.truths[name] for name in task.asked}
    errors = [
        f"{name} {verdict.rmse(one.predicted[name], truth):.2f}" for name, truth in pairs.items() if truth is not None
    ]
    how = f"{task.recipe.latents[0]} latents, " + ("cross-validated" if task.is_checked else f"seed {task.seed}")
    return f"{task.protocol.name}, {how}: {', '.join(errors) or 'no labels'} in {one.ended - one.began:.0f} s"


def _compare(results: Results, data: Path, there: Sequence[str], pool: ProcessPoolExecutor) -> None:
    groups = dict.fromkeys(partners(name, there) for name in results.subsets)
    asked = [tuple(name for name in results.subsets if name in group) for group in groups]
    for found in pool.map(yardsticks.answers, [data] * len(groups), groups, asked, [0] * len(groups)):
        for name, by_subset in found.items():
            for subset, predicted in by_subset.items():
                results.yardsticks.setdefault(name, {})[subset] = [predicted]


def _cost(results: Results, data: Path) -> None:
    """Of the headline's first network, once nothing else runs."""
    for each in results.answers:
        task = each.task
        if each.model is None or task.protocol != HEADLINE or task.seed:
            continue
        tested = fleet(data, "test", task.asked[:1])
        spec, network = each.model.spec, each.model.network
        model = export(network, len(spec.settings) + len(spec.sensors))
        results.costs[task.asked[0]] = cost(spec, model, tested, each.model.predict(tested), MOST)


def _path(given: Path, name: str, subsets: Sequence[str]) -> Path:
    return given if len(subsets) == 1 else given.with_name(f"{given.stem}-{name}{given.suffix}")


def _write(path: Path, results: Results, name: str, data: Path, out: Console) -> None:
    predicted = results.predicted(HEADLINE.name, name)[0]
    low, high = results.intervals[name].of(predicted)
    units = [unit.number for unit in cmapss.units(data, "test", name)]
    try:
        with path.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(("unit", "rul", "low", "high"))
            for unit, *values in zip(units, predicted, low, high, strict=True):
                lines.writerow((unit, *(f"{value:.3f}" for value in values)))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}", hint="name a file in a folder that is there") from error
    out.print(f"predictions for the test engines of {name} are in {path}")


if __name__ == "__main__":
    typer.run(main)
