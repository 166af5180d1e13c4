"""`python -m bench.bridge`: MQTT to Kafka, ours beside others on the same brokers."""

from __future__ import annotations

import dataclasses
import os
import pstats
import signal
import sys
from pathlib import Path
from typing import Any

import typer

from bench.bridge import verdict
from bench.bridge.bed import Bed, open_bed
from bench.bridge.runs import Run, broker_alone, drain, held_back, pace
from bench.bridge.systems import TOPICS, Ours, Stock, System, given_settings
from bench.bridge.telegraf import build as build_telegraf
from bench.bridge.verdict import Results
from bench.figures import as_json as to_json
from bench.figures import console, figures_table, table
from headwater.contract.errors import BadInput, HeadwaterError

RATE = 1000.0
_BUSY = 0.5  # 1-minute load average: a core's half
_TAIL = ("CPU µs/message", "lowest … highest", "peak MB", "lost", "twice")


def main(
    quick: bool = typer.Option(
        False, "--quick", help="Fewer and smaller runs: a minute, and some for the first build of Telegraf."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
    runs: int = typer.Option(None, min=1, help="Runs of each system; 3, or 1 with --quick."),
    messages: int = typer.Option(None, min=1000, help="Messages of a run; 200,000, or 30,000 with --quick."),
    profile: bool = typer.Option(False, "--profile", help="Only our bridge on preloaded messages; takes settings."),
    window: int = typer.Option(
        None, min=1, help="Only our bridge, in both modes, on a broker that sends so many messages ahead (MQTT 3.1.1)."
    ),
    cprofile: Path = typer.Option(None, help="With --profile: run under cProfile, keep the statistics in this file."),
) -> None:
    """Compare bridges from MQTT to Kafka: readings of 200 bytes, 100 topics, QoS 1, persistent session.

    Each run first queues its messages in the broker, then starts the system; what counts is the time from the first
    record in Kafka to the last. Then 1,000 messages a second, one at a time: latency (± 0.5 ms) and CPU.

    Exits with 1 when a run lost, doubled or changed readings; goals that are missed do not change the exit code.

    Example:  python -m bench.bridge --quick
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = console(as_json=as_json)
    busy = os.getloadavg()[0]
    runs, messages = runs or (1 if quick else 3), messages or (30_000 if quick else 200_000)
    try:
        with open_bed(TOPICS, out.print) as bed:
            if window:
                _held_back(bed, runs, messages, window, out)
                return
            if profile:
                _profile(bed, runs, messages, cprofile, out)
                return
            results = _compare(bed, runs, messages, quick=quick, out=out)
    except HeadwaterError as error:
        out.print(f"bench.bridge: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    shown = verdict.figures(results)
    out.print(
        table("At full speed", ("system", "runs", "messages/s", *_TAIL), verdict.rows(results.drains, paced=False))
    )
    columns = ("system", "runs", "p50 ms", "p99 ms", *_TAIL)
    out.print(table(f"At {RATE:,.0f} messages a second", columns, verdict.rows(results.paces, paced=True)))
    out.print(figures_table(shown))
    if busy > _BUSY:
        out.print(f"the machine was busy before (load {busy:.1f}): rates and latencies are not its best")
    if as_json:
        typer.echo(to_json(shown, more={"runs": dataclasses.asdict(results), "load_before": busy}))
    for fault in results.faults():
        out.print(f"not as promised: {fault}")
    if results.faults():
        raise typer.Exit(1)


def _compare(bed: Bed, runs: int, messages: int, *, quick: bool, out: Any) -> Results:
    results = Results()
    systems: list[System] = [Ours(), Stock()]
    try:
        systems.append(build_telegraf(out.print))
    except BadInput as error:
        results.skipped[verdict.TELEGRAF] = str(error)
        out.print(f"telegraf is skipped: {error}")
    for number in range(runs):
        for system in systems[:: -1 if number % 2 else 1]:  # nobody is always first
            _keep(results.drains, drain(bed, system, messages), out)
        _keep(results.drains, broker_alone(bed, messages), out)
    for number in range(runs):
        for system in systems[:: -1 if number % 2 else 1]:
            _keep(results.paces, pace(bed, system, RATE, 4 if quick else 10), out)
    results.backlogs.append(drain(bed, Ours(), 100_000 if quick else verdict.BACKLOG))
    return results


def _keep(by_system: dict[str, list[Run]], run: Run, out: Any) -> None:
    by_system.setdefault(run.system, []).append(run)
    out.print(f"{run.system}: {run.rate:,.0f} messages/s, {run.cpu_us:.2f} µs CPU a message {run.fault}")


def _held_back(bed: Bed, runs: int, messages: int, window: int, out: Any) -> None:
    """A small unacknowledged window: what an acknowledgement waits for decides."""
    done: dict[str, list[Run]] = {}
    for _ in range(runs):
        for mode in ("kafka", "spool"):
            more = {"HEADWATER_EDGE__MQTT__PROTOCOL": "3.1.1", "HEADWATER_EDGE__BRIDGE__ACK_AFTER": mode}
            system = Ours(f"after {mode}", settings={**given_settings(), **more})
            done.setdefault(system.name, []).append(held_back(bed, system, messages, window))
    columns = ("acknowledged", "runs", "messages/s", *_TAIL)
    out.print(table(f"{window} messages ahead", columns, verdict.rows(done, paced=False)))


def _profile(bed: Bed, runs: int, messages: int, cprofile: Path | None, out: Any) -> None:
    """Ours alone, with whatever HEADWATER_EDGE__ settings the caller has."""
    target = None if cprofile is None else cprofile.absolute()
    done = [drain(bed, Ours(profile=target, settings=given_settings()), messages) for _ in range(runs)]
    columns = ("system", "runs", "messages/s", *_TAIL)
    out.print(table("Profile", columns, verdict.rows({verdict.OURS: done}, paced=False)))
    last = done[-1]
    out.print(f"memory grew by {last.growth_mb:.1f} MB, batches have {last.batch_kb:.1f} KB {last.fault}")
    if target is not None:
        pstats.Stats(str(target)).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    typer.run(main)
