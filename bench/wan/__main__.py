"""`python -m bench.wan`: ours beside others over links that are slow, long, stall and break."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec
import typer

from bench.figures import NONE, console, figures_table, median_figure, table
from bench.figures import as_json as to_json
from bench.replicator import mirror
from bench.replicator.cases import Case, load
from bench.replicator.clusters import Bed
from bench.replicator.systems import LOOP, OURS, TUNED, Loop, Mirror, Ours, Start, System
from bench.wan.bed import Wan, open_wans
from bench.wan.cells import GRID, NAMED, SLOW, Cell, Seen, measure
from headwater.contract.errors import HeadwaterError
from headwater.contract.figures import Figure
from headwater.transport.kafka_batch import Cluster

_COLUMNS = (
    "link",
    "system",
    "use of the link",
    "sent in vain",
    "going again after a cut, s",
    "still at most, s",
    "load",
)
Task = tuple[Cell, System]


class Beside(Mirror):
    """MirrorMaker 2 beside others of it, which without this would be workers of one Connect group at the source."""

    def start(self, bed: Bed, case: Case, topic: str, *, pattern: str = "", paced: bool = False) -> Start:
        """How to copy."""
        start = super().start(bed, case, topic, pattern=pattern, paced=paced)
        with Path(start.argv[-1]).open("a") as file:
            file.write(f"cloud->{start.target.split('.')[0]}.emit.heartbeats.enabled = false\n")
        return start


def main(
    quick: bool = typer.Option(False, help="Only the links that have figures, not the grid."),
    systems: str = typer.Option(f"{OURS},{LOOP},{TUNED}", help="Systems by name."),
    cells: str = typer.Option("", help="Only links whose name contains one of these, separated by semicolons."),
    at_once: int = typer.Option(8, min=1, help="Links of at most 1 Mbit/s at a time; the others are always alone."),
    into: Path | None = typer.Option(None, help="File that gets a line a run; what is in it is not run again."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on standard output."),
) -> None:
    """Copy over each link for a while; what arrived, as a share of what it carries.

    Example:  python -m bench.wan --quick --systems headwater
    """
    out = console(as_json=as_json)
    busy = os.getloadavg()[0]
    chosen = [
        each for each in (NAMED if quick else NAMED + GRID) if any(part in each.name for part in cells.split(";"))
    ]
    found = _systems(systems.split(","), out.print)
    seen = [] if into is None or not into.exists() else _kept(into)
    done = {(each.cell, each.system) for each in seen}
    tasks = [(cell, system) for cell in chosen for system in found if (cell.name, system.name) not in done]
    with open_wans(out.print, at_once) as wans:
        asyncio.run(_load(wans[0], {cell.case for cell, _ in tasks}))
        for each in _all(wans, tasks, out.print):
            seen.append(each)
            out.print("; ".join(_row(each)) + each.fault[-300:])
            if into is not None:
                with into.open("ab") as file:
                    file.write(msgspec.json.encode(each) + b"\n")
    out.print(table("Links", _COLUMNS, [_row(each) for each in sorted(seen, key=_place)]))
    out.print(f"links of at most 1 Mbit/s: {at_once} at a time between the same clusters, the others alone")
    figures = _figures(seen)
    out.print(figures_table(figures))
    if as_json:
        more = {"runs": [dataclasses.asdict(each) for each in seen], "load_before": busy, "slow_at_once": at_once}
        typer.echo(to_json(figures, more=more))


def _kept(path: Path) -> list[Seen]:
    return [msgspec.json.decode(line, type=Seen) for line in path.read_bytes().splitlines()]


def _cells(quick: bool) -> tuple[Cell, ...]:
    return NAMED if quick else NAMED + GRID


def _place(seen: Seen) -> int:
    return [each.name for each in _cells(quick=False)].index(seen.cell)


def _systems(names: list[str], say: Callable[[str], None]) -> list[System]:
    found: list[System] = []
    if OURS in names:
        found.append(Ours())
    if LOOP in names:
        found.append(Loop())
    if TUNED in names:
        try:
            found.append(Beside(mirror.class_path(say), tuned=True))
        except HeadwaterError as error:
            say(f"MirrorMaker 2 is skipped: {error}")
    return found


async def _load(wan: Wan, cases: set[Case]) -> None:
    async with Cluster(wan.bed.source.settings(tls=False), client_id="bench") as cluster:
        for case in cases:
            await load(cluster, case)


def _all(wans: Sequence[Wan], tasks: Sequence[Task], say: Callable[[str], None]) -> Iterator[Seen]:
    """Slow links several at a time, then the others one by one."""
    free: queue.Queue[Wan] = queue.Queue()
    for wan in wans:
        free.put(wan)
    slow = [each for each in tasks if each[0].rate <= SLOW]
    with ThreadPoolExecutor(len(wans)) as pool:
        try:
            for future in as_completed([pool.submit(_run, free, *each) for each in slow]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    for each in tasks:
        if each[0].rate > SLOW:
            say(f"{each[0].name}, {each[1].name}, load {os.getloadavg()[0]:.1f}")
            yield _run(free, *each)


def _run(free: queue.Queue[Wan], cell: Cell, system: System) -> Seen:
    wan = free.get()
    try:
        return measure(wan, cell, system)
    except HeadwaterError as error:
        return Seen(cell.name, system.name, 0.0, 1.0, fault=str(error))
    finally:
        free.put(wan)


def _row(seen: Seen) -> list[str]:
    if seen.fault:
        return [seen.cell, seen.system, "none", NONE, NONE, NONE, NONE]
    resumed = ", ".join(f"{each:.1f}" for each in seen.resumed_s) or NONE
    return [
        seen.cell,
        seen.system,
        f"{seen.use:.3f}",
        f"{seen.wasted:.3f}",
        resumed,
        f"{seen.still_s:.1f}",
        f"{seen.load:.0f}",
    ]


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
