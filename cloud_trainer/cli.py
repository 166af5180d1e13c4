"""`headwater train`: requests, runs, models."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import typer

from cloud_trainer.cards.cli import card
from cloud_trainer.certificates.cli import certify
from cloud_trainer.datasets.cli import app as dataset_app
from cloud_trainer.datasets.stream_cli import simulate_stream
from cloud_trainer.judging.cli import compare, publish
from cloud_trainer.labels.cli import label
from cloud_trainer.life.cli import life
from cloud_trainer.options import AS_JSON, CLASS, OFFSETS, check_together
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.showing import card_of, line_of, request_of, show_run
from cloud_trainer.tracing.cli import MODEL, explain, lineage
from headwater.contract.errors import BadInput
from headwater.transport import logs
from headwater.transport.settings import load

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Train models from an exact range of what the plants sent.\n\n"
    "Example:  headwater train request --class pump --wait",
)
DATASET = typer.Option(
    None, "--dataset", help="Instead of ranges: a dataset file, or the digest of a frozen dataset (train dataset)."
)


app.add_typer(dataset_app, name="dataset")


@app.callback()
def prepare(verbose: bool = typer.Option(False, "--verbose", help="Log details.")) -> None:
    """Set up logging."""
    logs.configure(verbose=verbose, part="train")


@app.command()
def serve() -> None:
    """Wait for requests on `retrain-requests` and carry out one after the other, until SIGTERM.

    Example:  headwater train serve
    """
    from cloud_trainer import serve as service  # noqa: PLC0415  # numpy, which `--help` does not need

    service.serve(load("trainer", TrainerSettings))


@app.command()
def request(
    context: typer.Context,
    asset_class: str = CLASS,
    offsets: Path = OFFSETS,
    dataset: str = DATASET,
    reason: str = typer.Option("", help="Why, in a few words."),
    request_id: str = typer.Option("", help="Id of the request; the same id is never carried out twice."),
    wait: bool = typer.Option(False, "--wait", help="Wait for the outcome."),
    timeout_s: float = typer.Option(600.0, min=1, help="How long to wait, in seconds."),
    as_json: bool = AS_JSON,
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the request and send nothing."),
) -> None:
    """Ask the trainer for a new model.

    Example:  headwater train request --class pump --reason "new bearings" --wait
    """
    check_together(context, [("offsets", "dataset"), ("dry_run", "wait")], {"timeout_s": ("wait",)})
    from cloud_trainer.runs import Runs  # noqa: PLC0415  # librdkafka, which `--help` does not need

    asked = request_of(asset_class, offsets, reason, request_id, dataset)
    if dry_run:
        typer.echo(json.dumps(msgspec.to_builtins(asked), indent=2))
        return
    runs = Runs(load("trainer", TrainerSettings).kafka)
    runs.prepare()
    runs.request(asked)
    if wait:
        show_run(runs.wait(asked.request_id, timeout_s), as_json)
    else:
        told = {"request_id": asked.request_id}
        typer.echo(json.dumps(told) if as_json else f"requested: {asked.request_id}; headwater train jobs shows it")


@app.command()
def run(
    context: typer.Context,
    *,
    asset_class: str = CLASS,
    offsets: Path = OFFSETS,
    dataset: str = DATASET,
    folder: Path = typer.Option(None, "--folder", help="Learn from the recordings in a folder; no cluster is asked."),
    site: str = typer.Option("recorded", help="With --folder: the site that its assets belong to."),
    rows: int = typer.Option(None, min=1, help="With --folder: only the first rows of each recording are healthy."),
    out: Path = typer.Option(None, "--out", help="Write model.tflite and manifest.json here instead of publishing."),
    version: int = typer.Option(1, min=1, help="With --out: version to write into the manifest."),
    budget: float = typer.Option(
        None, min=0, help="Seconds for other detectors to compete with T² (0: T² alone); the setting if none."
    ),
    reason: str = typer.Option("", help="Why, in a few words."),
    as_json: bool = AS_JSON,
    dry_run: bool = typer.Option(False, "--dry-run", help="Train and compare, then only show what came of it."),
) -> None:
    """Train here and now, without a running trainer, and publish, or write the model to a folder.

    Example:  headwater train run --class pump

    Example:  headwater train run --class rig --folder recordings --rows 400 --out my-model

    Example:  headwater train run --class pump --dataset pump.dataset.json

    Example:  headwater train run --class pump --budget 60
    """
    check_together(
        context,
        [("folder", "offsets"), ("offsets", "dataset"), ("dataset", "rows"), ("dataset", "site"), ("out", "reason")],
        {"site": ("folder",), "rows": ("folder",), "version": ("out",)},
    )
    from cloud_trainer import local  # noqa: PLC0415  # numpy, which `--help` does not need

    settings, asked = _settings(budget), request_of(asset_class, offsets, reason, dataset=dataset)
    if folder is None and out is None and not dry_run:
        show_run(local.publish(settings, asked), as_json)
        return
    if folder is not None and out is None and not dry_run:
        raise BadInput("a model from a folder is not published directly", hint="add --out DIR; headwater train publish")
    if asset_class in settings.life_recipes:
        raise BadInput(
            f"{asset_class} is a class of remaining life", hint=f"headwater train life --class {asset_class}"
        )
    recorded = (folder, asset_class, site, rows, dataset)
    made = local.from_recordings(settings, *recorded) if folder else local.from_cluster(settings, asked)
    manifest = local.write(made, asked.request_id, version, None if dry_run else out)
    written = f"\nwritten to {out}; publish it with: headwater train publish {out}" if out and not dry_run else ""
    typer.echo(manifest.encode().decode() if as_json else card_of(manifest) + written)


@app.command()
def sites(
    *,
    context: typer.Context,
    asset_class: str = CLASS,
    model: Path = typer.Option(None, "--model", help="Folder with the class's network; else a published version."),
    version: int = typer.Option(None, min=1, help="Published version whose network is taken; the newest if none."),
    offsets: Path = OFFSETS,
    folder: Path = typer.Option(
        None, "--folder", help="Recordings, in a folder for each site: FOLDER/lyon/pump-1.csv; no cluster is asked."
    ),
    out: Path = typer.Option(None, "--out", help="Write model.tflite and manifest.json here instead of publishing."),
    runner: str = typer.Option(None, help="pool or ray: what works on many assets at once; the setting if none."),
    request_id: str = typer.Option("", help="Id of this run; the same id is never published twice."),
    as_json: bool = AS_JSON,
    dry_run: bool = typer.Option(False, "--dry-run", help="Measure the assets, then only show what came of it."),
) -> None:
    """Give every asset of every site a scaling and a threshold of its own, on the network of its class.

    Nothing is trained: the network stays byte for byte as it is, in a new version. A thousand sites take seconds.

    Example:  headwater train sites --class pump

    Example:  headwater train sites --class rig --model my-model --folder plants --out my-sites
    """
    from cloud_trainer import sites_cli  # noqa: PLC0415  # rich's progress, which `--help` does not need

    check_together(
        context, [("folder", "offsets"), ("model", "version"), ("out", "request_id"), ("dry_run", "request_id")]
    )
    if runner not in (None, "pool", "ray"):
        raise BadInput(f"there is no runner {runner!r}", hint="pool or ray")
    asked = request_of(asset_class, offsets, "scaling and thresholds of all sites", request_id)
    sites_cli.carry_out(
        load("trainer", TrainerSettings),
        sites_cli.Asked(asked, model, version, folder, out, runner, as_json, dry_run),  # type: ignore[arg-type]  # checked above
    )


@app.command()
def jobs(as_json: bool = AS_JSON) -> None:
    """List requests and what became of them: when the last word on each came, the oldest first.

    Example:  headwater train jobs
    """
    from cloud_trainer.runs import Runs  # noqa: PLC0415  # librdkafka, which `--help` does not need

    runs = Runs(load("trainer", TrainerSettings).kafka)
    runs.prepare()
    found = sorted(runs.all().values(), key=lambda one: one.at)
    if as_json:
        typer.echo(json.dumps({"runs": [msgspec.to_builtins(one) for one in found]}, indent=2))
        return
    for one in found:
        typer.echo(line_of(one))
    if not found:
        typer.echo("no requests yet; headwater train request --help")


@app.command()
def show(model: str = MODEL, as_json: bool = AS_JSON) -> None:
    """Show what a model is and what it learned from.

    Example:  headwater train show pump/3
    """
    from cloud_trainer.tracing.finding import found  # noqa: PLC0415  # boto3, which `--help` does not need

    one = found(load("trainer", TrainerSettings), model)
    typer.echo(one.manifest_bytes.decode() if as_json else card_of(one.manifest))


app.command()(life)
app.command()(simulate_stream)
app.command()(compare)
app.command()(publish)
app.command()(certify)
app.command()(card)
app.command()(label)
app.command()(explain)
app.command()(lineage)


def _settings(budget: float | None) -> TrainerSettings:
    settings = load("trainer", TrainerSettings)
    if budget is None:
        return settings
    return settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"budget_s": budget})})
