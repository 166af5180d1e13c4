"""`headwater train life`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import typer

from cloud_trainer.life import choosing
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.options import AS_JSON, CLASS, OFFSETS, check_together
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.showing import card_of, request_of, show_run
from headwater.contract.errors import BadInput
from headwater.transport.settings import load

_OPTIONS = {"budget_s": "budget"}  # that are not called as in the recipe


def life(
    context: typer.Context,
    *,
    asset_class: str = CLASS,
    settings: str = typer.Option(
        None, "--settings", help="Channels that say how the machine is run, such as altitude,load; others are sensors."
    ),
    folder: Path = typer.Option(None, "--folder", help="Recordings, a row a cycle: each is a life up to its failure."),
    offsets: Path = OFFSETS,
    dataset: str = typer.Option(
        None, "--dataset", help="Instead of ranges: a dataset file, or the digest of a frozen dataset (train dataset)."
    ),
    site: str = typer.Option("recorded", help="With --folder: the site that its assets belong to."),
    out: Path = typer.Option(None, "--out", help="Write model, card and predictions here instead of publishing."),
    version: int = typer.Option(1, min=1, help="With --out: version to write into the manifest."),
    most: float = typer.Option(None, min=1, help="Cycles beyond which lives are not told apart; the setting if none."),
    warn: float = typer.Option(None, min=0, help="Cycles below which an alarm opens; the setting if none."),
    window_only: bool = typer.Option(
        False, "--window-only", help="Look at the last 30 cycles only: for assets whose overhauls nobody records."
    ),
    budget: float = typer.Option(None, min=0, help="Seconds for networks to compete with ridge (0: ridge alone)."),
    reason: str = typer.Option("", help="Why, in a few words."),
    as_json: bool = AS_JSON,
    dry_run: bool = typer.Option(False, "--dry-run", help="Train and compare, then only show what came of it."),
) -> None:
    """Train a model of how many cycles an asset has left, from lives that ended with a failure.

    One reading stands for one cycle: a flight, a batch, an hour. From topics it learns the lives between two overhauls
    (headwater edge overhauled ASSET --failed); with --folder each recording is one life. Without --out it is published.

    Example:  headwater train life --class engine --settings altitude,mach --folder lives --out my-engine

    Example:  headwater train life --class engine --settings altitude,mach --warn 40
    """
    check_together(
        context,
        [
            *(("folder", "offsets"), ("offsets", "dataset"), ("dataset", "site")),
            *((other, "reason") for other in ("out", "folder", "dry_run")),  # of what is published
        ],
        {"site": ("folder",), "version": ("out",)},
    )
    if folder is not None and out is None and not dry_run:
        raise BadInput("a model from a folder is not published directly", hint="add --out DIR; headwater train publish")
    choosing.check_installed()
    from cloud_trainer.life import local  # noqa: PLC0415  numpy, scikit-learn, which `--help` does not need

    trainer = load("trainer", TrainerSettings)
    given = {"settings": _names(settings), "most": most, "warn": warn, "budget_s": budget}
    given["is_lifelong"] = False if window_only else None
    recipe = _changed(local.recipe(trainer, asset_class, is_recorded=folder is not None), given)
    request = request_of(asset_class, offsets, reason, dataset=None if folder is not None else dataset)
    if out is None and not dry_run:
        show_run(local.publish(trainer, recipe, request), as_json)
        return
    recorded = None if folder is None else local.Recorded(folder, site, dataset)
    made = local.make(trainer, recipe, request, recorded)
    manifest = local.write(made, request.request_id, version, None if dry_run else out)
    typer.echo(manifest.encode().decode() if as_json else card_of(manifest) + _written(out, dry_run=dry_run))


def _written(out: Path | None, *, dry_run: bool) -> str:
    if dry_run:
        return f"\nnothing was {f'written to {out}' if out else 'published'}: --dry-run"
    return f"\nwritten to {out}; publish it with: headwater train publish {out}"


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _changed(recipe: LifeRecipe, given: dict[str, Any]) -> LifeRecipe:
    """The recipe with what the command line says; BadInput where that cannot be."""
    named = {name: value for name, value in given.items() if value is not None}
    try:
        return LifeRecipe.model_validate({**recipe.model_dump(), **named})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = "".join(f"--{_OPTIONS.get(str(name), name)}: " for name in first["loc"][:1])
        words = first["msg"].removeprefix("Value error, ")
        raise BadInput(option + words, hint="headwater train life --help") from error
