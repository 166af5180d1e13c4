"""`python -m bench.retrain`: how fast a model is made anew."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import typer
from rich.console import Console

from bench.figures import as_json as to_json
from bench.figures import console, figures_table
from bench.retrain import sites as of_sites
from bench.retrain import verdict
from bench.retrain.assets import one_asset
from bench.retrain.loop import Loop, Round
from bench.retrain.sites import Thousand
from cloud_trainer.running.runner import cores
from headwater.contract.errors import BadInput, HeadwaterError

PARTS = ("both", "loop", "sites")
_BUSY = 0.5  # 1-minute load average: a core's half
_HEALTHY = 1_100  # rows: as many as one of SKAB's files has


def main(
    data: Path = typer.Option(None, help="Folder of recordings (CSV as in SKAB) instead of simulated pumps."),
    part: str = typer.Option("both", help="loop: message to first score; sites: a thousand sites; both."),
    sites: int = typer.Option(1000, min=2, help="Sites with an asset each."),
    rows: int = typer.Option(_HEALTHY, min=150, help="Healthy readings of each asset."),
    rounds: int = typer.Option(3, min=1, help="Rounds of each part."),
    workers: int = typer.Option(None, min=1, help="Processes, and tasks of Ray; as many as there are cores if none."),
    quick: bool = typer.Option(False, "--quick", help="One round, and 40 sites of 300 readings: a minute."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Time one asset's training from the message to the edge's first score, and a thousand sites on one network.

    The first needs the local stack (Kafka, MQTT, S3); the second runs on the process pool, on one process, and on
    Ray where it is installed (`make test-ray` makes an environment with it), and compares the bytes that come out.

    Example:  python -m bench.retrain --quick

    Example:  .venv-ray/bin/python -m bench.retrain --part sites
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out, busy = console(as_json=as_json), os.getloadavg()[0]
    if quick:
        sites, rows, rounds = 40, 300, 1
    try:
        if part not in PARTS:
            raise BadInput(f"there is no part {part!r}", hint=", ".join(PARTS))
        found = _thousand(sites, rows, rounds, workers or cores(), data, out) if part != "loop" else None
        loops = _loops(data, _HEALTHY, rounds, out) if part != "sites" else []
    except HeadwaterError as error:
        out.print(f"bench.retrain: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
        raise typer.Exit(error.exit_code) from error
    figures = verdict.figures(loops, found)
    for each in ([verdict.loop_table(loops)] if loops else []) + ([verdict.sites_table(found)] if found else []):
        out.print(each)
    out.print(figures_table(figures))
    if busy > _BUSY:
        out.print(f"The machine was busy before this began (load {busy:.1f}): these figures are of a busy machine.")
    if as_json:
        typer.echo(to_json(figures, seed=1, more={"load": busy}))


def _thousand(sites: int, rows: int, rounds: int, workers: int, data: Path | None, out: Console) -> Thousand:
    return of_sites.measure(sites, rows, rounds, workers, data, out.print)


def _loops(data: Path | None, healthy: int, rounds: int, out: Console) -> list[Round]:
    folder = Path(tempfile.mkdtemp(prefix="headwater-bench-"))
    try:
        with Loop(folder, one_asset(data), "rig", healthy, out.print) as loop:
            return [loop.round(number) for number in range(1, rounds + 1)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    typer.run(main)
