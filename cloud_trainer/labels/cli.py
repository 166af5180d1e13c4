"""`headwater train label`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cloud_trainer.settings import TrainerSettings
from headwater.contract.errors import BadInput
from headwater.transport.settings import load

if TYPE_CHECKING:
    from cloud_trainer.labels.joining import Restated


def label(
    file: Path = typer.Argument(
        None, metavar="[FILE.csv]", help="Orders: site,asset,from,to,kind and perhaps order. None: only tell."
    ),
    asset_class: str = typer.Option("", "--class", help="Tell of this class only; needed with --retrain."),
    retrain: bool = typer.Option(False, "--retrain", help="Ask for a new model, since labels have arrived."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and check the file, and store nothing."),
) -> None:
    """Store what maintenance found out, and tell anew how many alarms were right and how many faults were found.

    The kinds healthy and false-alarm say that there was no fault; any other kind names one. The same file may be read
    again, and an order that was corrected replaces what it said before. What operators said of alarms at the plants
    (headwater edge acknowledge) is stored with them, and counts where no order speaks. So are failures that were told
    there (headwater edge overhauled --failed): faults, of the moment of the asset's last reading before.

    Example:  headwater train label orders.csv

    Example:  headwater train label orders.csv --class pump --retrain
    """
    from cloud_trainer.labels import telling  # noqa: PLC0415  # librdkafka, which `--help` does not need

    if retrain and not asset_class:
        raise BadInput("--retrain needs to know of which class", hint="add --class pump")
    settings = load("trainer", TrainerSettings)
    told = telling.carry_out(settings, file, asset_class, retrain=retrain, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(told.as_json(), indent=2))
        return
    if file is not None:
        typer.echo(f"{told.read} orders read, {told.new} of them new" + (" (nothing is stored)" if dry_run else ""))
    if told.words:
        typer.echo(f"{told.words} alarms called true or false by operators, {told.new_words} of these words new")
    if told.failures:
        typer.echo(f"{told.failures} failures told with an overhaul, {told.new_failures} of them new")
    for one in told.restated:
        typer.echo(line_of(one))
    if told.request_id:
        typer.echo(f"requested: {told.request_id}; headwater train jobs shows it")


def line_of(one: Restated) -> str:
    """What is known of the alarms of a version, in a line."""
    whose = f"version {one.version}" if one.version else "all versions"
    parts = [f"{one.asset_class}, {whose}: {one.alarms} alarms", f"labels known for {_share(one.known_share)} of them"]
    parts.append(f"precision {_share(one.precision)} ({one.right} of {one.known} right)")
    if not one.version:
        parts.append(f"recall {_share(one.recall)} ({one.found} of {one.faults} faults found)")
    return ", ".join(parts)


def _share(value: Any) -> str:
    return "unknown" if value is None else f"{value:.0%}"
