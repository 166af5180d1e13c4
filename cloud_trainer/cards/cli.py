"""`headwater train card`."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from cloud_trainer.judging.cli import (
    AS_JSON,
    BEHIND,
    DATASET,
    LABELS,
    OFFSETS,
    SITE,
    WHERE_APART,
    WHERE_NEEDS,
    offsets_of,
)
from cloud_trainer.options import check_together
from cloud_trainer.settings import TrainerSettings
from headwater.transport.settings import load


def card(
    *,
    context: typer.Context,
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A folder with both files, or a published model: pump/3, pump, or its SHA-256."
    ),
    out: Path = typer.Option(..., "--out", help="Folder for card.html, card.json and the pictures as PNG."),
    folder: Path = typer.Option(None, "--folder", help="Show it on the recordings in a folder, with their labels."),
    site: str = SITE,
    behind: int = BEHIND,
    offsets: Path = OFFSETS,
    dataset: str = DATASET,
    labels: Path = LABELS,
    predictions: Path = typer.Option(
        None, "--predictions", help="Remaining life as CSV: unit,rul,low,high, and true where it is known."
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Draw the card of a model: what it was trained on, what it was seen to do, and what it cannot see.

    Example:  headwater train card pump --out card

    Example:  headwater train card my-model --folder recordings --behind 400 --out card
    """
    check_together(context, WHERE_APART, WHERE_NEEDS)
    from cloud_trainer.cards import page, remaining, writing  # noqa: PLC0415  # matplotlib, which `--help` does not need
    from cloud_trainer.judging import lives_asked  # noqa: PLC0415  # numpy, as above
    from cloud_trainer.judging.asked import Range  # noqa: PLC0415  # as above
    from cloud_trainer.tracing.finding import found  # noqa: PLC0415  # as above

    settings = load("trainer", TrainerSettings)
    where = Range(folder, site, behind, offsets_of(offsets), dataset, labels)
    named = found(settings, model)
    make = remaining.make if lives_asked.is_asked(named) else writing.make
    told, drawn = make(settings, named, where, predictions)
    files = writing.write(told, drawn, out)
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    for name, one in told["figures"].items():
        typer.echo(f"{page.TITLES.get(name, name):<40} {'-' if one['value'] is None else format(one['value'], '.3g')}")
    for name, value in (told["remaining_life"] or {}).items():
        typer.echo(f"{'Remaining life, ' + name:<40} {value:.3g}")
    if told["seen_on"]["trained_on"]:
        typer.echo(page.trained_on_said(told))
    if told["alarms"] is not None:
        typer.echo(page.labels_said(told))
    typer.echo(f"written to {out}: {', '.join(files)}")
