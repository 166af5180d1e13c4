"""`python -m bench.wan`: ours beside others over links that are slow, long, stall and break."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import typer

from bench.figures import NONE, console, figures_table, median_figure, table
from bench.figures import as_json as to_json
from bench.replicator import mirror
from bench.replicator.cases import load
from bench.replicator.systems import LOOP, OURS, TUNED, Loop, Mirror, Ours, System
from bench.wan.bed import Wan, open_wan
from bench.wan.cells import FOUR, GRID, NAMED, ONE, Cell, Seen, measure
from headwater.contract.errors import HeadwaterError
from headwater.contract.figures import Figure
from headwater.transport.kafka_batch import Cluster

_COLUMNS = ("link", "system", "use of the link", "sent in vain", "going again after a cut, s")


def main(
    quick: bool = typer.Option(False, help="Only the links that have figures, not the grid."),
    systems: str = typer.Option(f"{OURS},{LOOP},{TUNED}", help="Systems by name."),
    cells: str = typer.Option("", help="Only links whose name contains this."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Copy over each link for a while; what arrived, as a share of what it carries.

    Example:  python -m bench.wan --quick --systems headwater
    """
    out = console(as_json=as_json)
    busy = os.getloadavg()[0]
    seen: list[Seen] = []
    with open_wan(out.print) as wan:
        asyncio.run(_load(wan))
        chosen = [each for each in (NAMED if quick else NAMED + GRID) if cells in each.name]
        _run(wan, chosen, _systems(systems.split(","), out.print), seen, out)
    found = _figures(seen)
    out.print(table("Links", _COLUMNS, [_row(each) for each in seen]))
    out.print(figures_table(found))
    if as_json:
        typer.echo(to_json(found, more={"runs": [dataclasses.asdict(each) for each in seen], "load_before": busy}))


def _systems(names: list[str], say: Callable[[str], None]) -> list[System]:
    found: list[System] = []
    if OURS in names:
        found.append(Ours())
    if LOOP in names:
        found.append(Loop())
    if TUNED in names:
        try:
            found.append(Mirror(mirror.class_path(say), tuned=True))
        except HeadwaterError as error:
            say(f"MirrorMaker 2 is skipped: {error}")
    return found


async def _load(wan: Wan) -> None:
    async with Cluster(wan.bed.source.settings(tls=False), client_id="bench") as cluster:
        for case in (FOUR, ONE):
            await load(cluster, case)


def _run(wan: Wan, cells: list[Cell], systems: list[System], seen: list[Seen], out: Any) -> None:
    for cell in cells:
        for system in systems:
            try:
                each = measure(wan, cell, system)
            except HeadwaterError as error:
                each = Seen(cell.name, system.name, 0.0, 1.0, fault=str(error))
            seen.append(each)
            out.print("; ".join(_row(each)) + each.fault[-300:])


def _row(seen: Seen) -> list[str]:
    if seen.fault:
        return [seen.cell, seen.system, "none", NONE, NONE]
    resumed = ", ".join(f"{each:.1f}" for each in seen.resumed_s) or NONE
    return [seen.cell, seen.system, f"{seen.use:.3f}", f"{seen.wasted:.3f}", resumed]


def _figures(seen: list[Seen]) -> list[Figure]:
    ours = {each.cell: each for each in seen if each.system == OURS}

    def of(number: int, name: str) -> list[float]:
        found = ours.get(NAMED[number].name)
        if found is None or found.fault:
            return []
        return list(found.resumed_s) if name == "resumed_s" else [getattr(found, name)]

    resumed = of(3, "resumed_s")
    return [
        median_figure("wan.link_use_4p", of(0, "use"), "of the link", 0.95, better="higher"),
        median_figure("wan.link_use_1p", of(1, "use"), "of the window", 0.95, better="higher"),
        median_figure("wan.link_use_1p_open", of(2, "use"), "of the link", 0.95, better="higher"),
        median_figure("wan.wasted_share", of(4, "wasted"), "of the bytes", 0.05, better="lower"),
        median_figure("wan.resume_s", resumed, "s", 1.0 + 3 * NAMED[3].rtt_s, better="lower"),
    ]


if __name__ == "__main__":
    typer.run(main)
