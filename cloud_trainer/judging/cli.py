"""`headwater train compare` and `publish`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import typer

from cloud_trainer.options import check_together
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.showing import next_step
from headwater.contract.errors import BadInput
from headwater.transport.files import read_named
from headwater.transport.settings import load

NAMED = "A folder with both files, or a published model: pump/3, pump (newest), or its SHA-256."
CHAMPION = "As the challenger; of pump alone the version that the rollouts left in the field, else the newest."
FOLDER = typer.Option(None, "--folder", help="Judge on the recordings in a folder, with the labels that they have.")
SITE = typer.Option("recorded", help="With --folder: the site that its assets belong to.")
BEHIND = typer.Option(0, "--behind", min=0, help="With --folder: leave out the first rows of each, as trained on.")
OFFSETS = typer.Option(
    None, "--offsets", help='JSON file with ranges of topics: {"lyon.readings": {"0": [0, 5000]}}; its dataset if none.'
)
DATASET = typer.Option(None, "--dataset", help="A dataset file, or the digest of a frozen dataset.")
LABELS = typer.Option(None, "--labels", help="Maintenance orders as CSV, instead of those on the topic labels.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


# Of `compare` and `card`: what to judge on is said once, and recordings have labels of their own.
WHERE_APART = [("folder", "offsets"), ("folder", "dataset"), ("offsets", "dataset"), ("folder", "labels")]
WHERE_NEEDS = {"site": ("folder",), "behind": ("folder",)}


def offsets_of(path: Path | None) -> dict[str, dict[str, tuple[int, int]]] | None:
    """The ranges in a file; BadInput where it holds none."""
    if path is None:
        return None
    try:
        return msgspec.json.decode(read_named(path), type=dict[str, dict[str, tuple[int, int]]])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"{path} holds no ranges: {error}", hint='{"lyon.readings": {"0": [0, 5000]}}') from error


def compare(
    context: typer.Context,
    *,
    champion: str = typer.Argument(..., help=CHAMPION),
    challenger: str = typer.Argument(..., help=NAMED),
    folder: Path = FOLDER,
    site: str = SITE,
    behind: int = BEHIND,
    offsets: Path = OFFSETS,
    dataset: str = DATASET,
    labels: Path = LABELS,
    record: bool = typer.Option(False, "--record", help="Write the decision to training-runs too."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Write nothing, not even judge.json beside the challenger."),
    as_json: bool = AS_JSON,
) -> None:
    """Judge champion against challenger on the same readings, with intervals, by asset and by slice.

    The decision is written as judge.json into the challenger's folder, where it has one. Nothing is promoted on what it
    was trained on, nor on fewer than five assets. Models of remaining life are judged on lives that ended in failure.

    Example:  headwater train compare pump my-model --offsets newer.json --record

    Example:  headwater train compare old new --folder recordings --behind 400
    """
    check_together(context, [*WHERE_APART, ("dry_run", "record")], WHERE_NEEDS)
    from cloud_trainer.judging import asked, lives_asked, words  # noqa: PLC0415  # numpy, which `--help` does not need
    from cloud_trainer.judging.champion import named  # noqa: PLC0415  # as above
    from cloud_trainer.tracing.finding import found  # noqa: PLC0415  # as above

    settings = load("trainer", TrainerSettings)
    where = asked.Range(folder, site, behind, offsets_of(offsets), dataset, labels)
    beaten, second = named(settings, champion), found(settings, challenger)
    first = beaten.model
    if lives_asked.is_asked(first, second):
        outcome = lives_asked.judged(settings, first, second, where)
    else:
        outcome = asked.judged(settings, first, second, where)
    outcome = replace(outcome, decision=beaten.noted(outcome.decision))
    written = [] if dry_run else asked.keep(settings, outcome, second, record=record)
    told = {**msgspec.to_builtins(outcome.decision), "sha256": outcome.decision.digest(), "written": written}
    typer.echo(json.dumps(told, indent=2) if as_json else "\n".join(words.lines_of(outcome.decision)))
    if written and not as_json:
        typer.echo(f"written to {' and '.join(written)}")


def publish(
    context: typer.Context,
    folder: Path = typer.Argument(..., help="Folder with model.tflite and manifest.json."),
    unjudged: bool = typer.Option(False, "--unjudged", help="Publish although no judge has preferred it; say why."),
    reason: str = typer.Option("", help="Why, in a few words; needed with --unjudged."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Check everything and publish nothing."),
    as_json: bool = AS_JSON,
) -> None:
    """Sign a trained model as the next version of its class: only with parity, and preferred by the judge.

    A class without a published version takes its first one without a judge.

    Example:  headwater train publish my-model
    """
    check_together(context, needs={"reason": ("unjudged",)})
    from cloud_trainer.judging import publishing  # noqa: PLC0415  # boto3, which `--help` does not need

    settings = load("trainer", TrainerSettings)
    run = publishing.publish(settings, folder, unjudged=unjudged, reason=reason, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(run), indent=2))
    else:
        state = (
            "was published before"
            if run.detail == publishing.BEFORE
            else "would be published"
            if dry_run
            else "is published"
        )
        typer.echo(f"{run.asset_class} version {run.version} {state}: {run.sha256}")
        if run.detail not in ("", publishing.BEFORE):
            typer.echo(f"  {run.detail}")
        if not dry_run and run.version is not None:
            typer.echo(next_step(run.asset_class, run.version))
