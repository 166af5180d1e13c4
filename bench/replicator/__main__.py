"""`python -m bench.replicator`: cluster to cluster, ours beside others on the same two clusters."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import pstats
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import typer

from bench.figures import as_json as to_json
from bench.figures import console, figures_table, table
from bench.replicator import mirror, verdict
from bench.replicator.cases import BY_NAME, CASES, USUAL, Case, load
from bench.replicator.clusters import Bed, open_bed
from bench.replicator.paced import new_topic, pace
from bench.replicator.runs import copy
from bench.replicator.systems import LOOP, OURS, STOCK, TUNED, Loop, Mirror, Ours, System
from bench.replicator.verdict import Results
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch import Cluster

_BUSY = 0.5  # 1-minute load average: a core's half
_COLUMNS = ("case", "system", "runs", "records/CPU-s", "lowest … highest", "records/s", "first s", "peak MB")


def main(
    runs: int = typer.Option(3, min=1, help="Runs of each system and case."),
    cases: str = typer.Option(",".join(USUAL), help="Cases by name, or `all` for the whole grid."),
    systems: str = typer.Option(f"{OURS},{LOOP},{TUNED},{STOCK}", help="Systems by name."),
    share: float = typer.Option(1.0, min=0.001, max=1.0, help="Share of the records of each case."),
    extras: bool = typer.Option(True, help="Also latency at 1,000 records a second, and the time to find a new topic."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
    cprofile: Path = typer.Option(None, help="Run ours under cProfile, keep the statistics in this file."),
) -> None:
    """Copy the same topics with each system; records a CPU-second over the last 60 % of the records.

    Exits with 1 when a copy was not one; goals that are missed do not change the exit code.

    Example:  python -m bench.replicator --runs 1 --cases 1k --systems headwater,loop
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = console(as_json=as_json)
    busy = os.getloadavg()[0]
    chosen = CASES if cases == "all" else [BY_NAME[name] for name in _named("--cases", cases, BY_NAME)]
    wanted = _named("--systems", systems, (OURS, LOOP, TUNED, STOCK))
    chosen = [dataclasses.replace(case, records=max(1000, int(case.records * share))) for case in chosen]
    results = Results()
    try:
        with open_bed(out.print) as bed:
            found = _systems(wanted, results, cprofile, out)
            for case in chosen:
                _copy_all(bed, case, found, runs, results, out)
            if extras:
                _extras(bed, found, runs, results, out)
    except HeadwaterError as error:
        out.print(f"bench.replicator: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    _show(results, busy, out, as_json=as_json)
    if cprofile is not None:
        pstats.Stats(str(cprofile)).sort_stats("tottime").print_stats(40)
    if results.faults:
        raise typer.Exit(1)


def _named(option: str, given: str, known: Collection[str]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint=option)
    if not names:
        raise typer.BadParameter(f"name some of {', '.join(known)}", param_hint=option)
    return names


def _systems(names: list[str], results: Results, cprofile: Path | None, out: Any) -> list[System]:
    found: list[System] = []
    if OURS in names:
        given = {name: value for name, value in os.environ.items() if name.startswith("HEADWATER_REPLICATOR__")}
        found.append(Ours(settings=given, profile=None if cprofile is None else cprofile.absolute()))
    if LOOP in names:
        found.append(Loop())
    if TUNED in names or STOCK in names:
        try:
            path = mirror.class_path(out.print)
            found += [Mirror(path, name == TUNED) for name in (TUNED, STOCK) if name in names]
        except HeadwaterError as error:
            results.skipped |= dict.fromkeys((TUNED, STOCK), f"skipped: {error}")
            out.print(f"MirrorMaker 2 is skipped: {error}")
    return found


def _copy_all(bed: Bed, case: Case, systems: list[System], runs: int, results: Results, out: Any) -> None:
    asyncio.run(_load(bed, case))
    copy(bed, systems[0], case)  # by cold brokers: whoever came first would copy at half the rate
    for number in range(runs):
        for system in systems[:: -1 if number % 2 else 1]:  # nobody is always first
            run = copy(bed, system, case)
            results.keep(run)
            out.print(
                f"{case.name}, {system.name}: {run.per_cpu_s:,.0f} records/CPU-s, {run.per_s:,.0f}/s, "
                f"{run.peak_mb:,.0f} MB {run.fault}"
            )


async def _load(bed: Bed, case: Case) -> None:
    async with Cluster(bed.source.settings(tls=False), client_id="bench") as cluster:
        await load(cluster, case)


def _extras(bed: Bed, systems: list[System], runs: int, results: Results, out: Any) -> None:
    for number in range(runs):
        for system in systems:
            p50, p99 = pace(bed, system)
            results.paces.setdefault(system.name, []).append((p50, p99))
            out.print(f"1,000 records a second, {system.name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
            if system.name == OURS or (not number and isinstance(system, Mirror)):
                took_s = new_topic(bed, system)
                results.new_topics.setdefault(system.name, []).append(took_s)
                out.print(f"a new topic, {system.name}: {took_s:.1f} s")


def _show(results: Results, busy: float, out: Any, *, as_json: bool) -> None:
    shown = verdict.figures(results)
    out.print(table("Copies", _COLUMNS, verdict.rows(results)))
    out.print(figures_table(shown))
    if busy > _BUSY:
        out.print(f"the machine was busy before (load {busy:.1f}): rates and latencies are not its best")
    if as_json:
        runs = [dataclasses.asdict(run) for each in results.copies.values() for run in each]
        more = {"runs": runs, "paces": results.paces, "new_topics": results.new_topics, "load_before": busy}
        typer.echo(to_json(shown, more=more))
    for fault in results.faults:
        out.print(f"not a copy: {fault}")


if __name__ == "__main__":
    typer.run(main)
