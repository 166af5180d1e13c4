"""`headwater replicate import-mm2` and `adopt`: from MirrorMaker 2 to a link."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from headwater.contract.errors import Refused
from headwater.transport import settings as sources
from headwater.transport.files import read_named
from replicator.settings import ReplicatorSettings
from replicator.tables import aligned

if TYPE_CHECKING:
    from replicator.mm2.importing.book import Row

FILE = typer.Argument(..., metavar="FILE", help="A properties file of MirrorMaker 2.")
FLOW = typer.Option(None, "--flow", metavar="A->B", help="Which flow, where several are enabled.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


def import_mm2(file: Path = FILE, flow: str | None = FLOW, as_json: bool = AS_JSON) -> None:
    """Turn a properties file of MirrorMaker 2 into settings of a link.

    The settings go to standard output, as TOML for headwater.toml (or another file that
    HEADWATER_CONFIG names); a table of what was not taken over, and why, goes to
    standard error. Passwords are not printed: the first lines say which files of secrets they go into.

    Example:  headwater replicate import-mm2 mm2.properties > mm2.toml
    """
    from replicator.mm2.importing.flow import import_flow  # noqa: PLC0415  # `--help` must not wait for it

    found = import_flow(read_named(file), flow)
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    typer.echo(found.toml, nl=False)
    typer.echo(_table(found.rows), err=True)


def _table(rows: list[Row]) -> str:
    taken = sum(row.state == "taken over" for row in rows)
    shown = [("setting", "value", "state", "remark")]
    order = ("secret", "no counterpart", "not needed")
    shown += [(r.key, r.value, r.state, r.remark) for state in order for r in rows if r.state == state]
    widths = [min(max(len(row[column]) for row in shown), 60) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip() for row in shown
    ]
    noted = [f"{row.key}: {row.remark}" for row in rows if row.state == "taken over" and ", to be made: " in row.remark]
    return "\n".join([f"{taken} settings taken over", *lines, *noted])


def adopt(as_json: bool = AS_JSON) -> None:
    """Go on where MirrorMaker 2 has stopped: its last records are found at the source, the link begins behind them.

    Stop MirrorMaker and the link first. Partitions that a link has shipped already are left as they are. Ends with 3
    where a place cannot be found for sure; such a partition is not shipped until its target is empty.

    Example:  headwater replicate adopt
    """
    from replicator.mm2 import adopting  # noqa: PLC0415  # `--help` must not wait for the network code

    found = asyncio.run(adopting.adopt(sources.load("replicator", ReplicatorSettings)))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        rows = [("partition", "state", "goes on at", "as target offset", "remark")]
        for each in found:
            places = ("", "") if each.source_next < 0 else (str(each.source_next), str(each.target_next))
            rows.append((f"{each.topic}[{each.partition}]", each.state, *places, each.remark))
        typer.echo(aligned(rows))
    if any(each.state == "not adopted" for each in found):
        raise typer.Exit(Refused.exit_code)
