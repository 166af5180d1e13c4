"""`headwater train explain` and `lineage`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from cloud_trainer.settings import TrainerSettings
from headwater.transport.settings import load

MODEL = typer.Argument(
    ..., metavar="MODEL", help="A folder with both files, or a published model: pump/3, pump (newest), or its SHA-256."
)
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


def explain(
    model: str = MODEL,
    as_json: bool = AS_JSON,
    offline: bool = typer.Option(False, "--offline", help="Do not ask Kafka for the request and the run."),
) -> None:
    """Say what made a model: dataset, offsets, digests, recipe, code version, parity, challengers, judge.

    Example:  headwater train explain pump/3
    """
    from cloud_trainer.tracing import words  # noqa: PLC0415  # numpy, which `--help` does not need
    from cloud_trainer.tracing.finding import found, history  # noqa: PLC0415  # as above

    settings = load("trainer", TrainerSettings)
    one = found(settings, model)
    request, run = (None, None) if offline or one.folder else history(settings, one.manifest.request_id)
    told = words.explained(one, request, run)
    typer.echo(json.dumps(told, indent=2) if as_json else "\n".join(words.lines_of_model(told)))


def lineage(
    alarm: str = typer.Argument(
        ..., metavar="ALARM", help="An episode (lyon-pump-3-1234), or the place of an alarm or score: lyon.alarms:0:17."
    ),
    model: Path = typer.Option(None, "--model", help="Folder of the model, where it is not published."),
    site: str = typer.Option("", help="Site of a score that is looked up at the edge."),
    as_json: bool = AS_JSON,
) -> None:
    """Lead from an alarm to its score, its very records, its model, dataset, offsets and code, and score them again.

    Of an alarm that an operator called false: whose word ended it, and what opened it.
    Exit code 6 where the records do not give the same bits again.

    Example:  headwater train lineage lyon-pump-3-1234

    Example:  headwater train lineage lyon.alarms:0:17 --json
    """
    from cloud_trainer.tracing import words  # noqa: PLC0415  # numpy, which `--help` does not need
    from cloud_trainer.tracing.finding import trace  # noqa: PLC0415  # as above

    told, gone = trace(load("trainer", TrainerSettings), alarm, model, site)
    typer.echo(json.dumps(told, indent=2) if as_json else "\n".join(words.lines_of_trace(told)))
    if gone is not None:
        raise gone
    if not told["again"]["same"]:
        raise typer.Exit(6)
