"""`headwater train`: requests, runs, models."""

from __future__ import annotations

import getpass
import json
import secrets
import time
from pathlib import Path

import msgspec
import typer

from cloud_trainer.settings import TrainerSettings
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.manifest import MANIFEST_FILE, Manifest, decode_manifest, model_path
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.contract.names import check_name
from headwater.transport import logs
from headwater.transport.settings import load

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Train models from an exact range of what the plants sent.\n\n"
    "Example:  headwater train request --class pump --wait",
)
CLASS = typer.Option(..., "--class", help="Asset class, such as pump.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
OFFSETS = typer.Option(
    None,
    "--offsets",
    help='JSON file with the ranges: {"lyon.readings": {"0": [0, 5000]}}; all there is by now if none.',
)


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
    asset_class: str = CLASS,
    offsets: Path = OFFSETS,
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
    from cloud_trainer.runs import Runs  # noqa: PLC0415  # librdkafka, which `--help` does not need

    asked = _request(asset_class, offsets, reason, request_id)
    if dry_run:
        typer.echo(json.dumps(msgspec.to_builtins(asked), indent=2))
        return
    runs = Runs(load("trainer", TrainerSettings).kafka)
    runs.prepare()
    runs.request(asked)
    if wait:
        _show(runs.wait(asked.request_id, timeout_s), as_json)
    else:
        told = {"request_id": asked.request_id}
        typer.echo(json.dumps(told) if as_json else f"requested: {asked.request_id}; headwater train jobs shows it")


@app.command()
def run(
    asset_class: str = CLASS,
    offsets: Path = OFFSETS,
    folder: Path = typer.Option(None, "--folder", help="Learn from the recordings in a folder; no cluster is asked."),
    site: str = typer.Option("recorded", help="With --folder: the site that its assets belong to."),
    rows: int = typer.Option(None, min=1, help="With --folder: only the first rows of each recording are healthy."),
    out: Path = typer.Option(None, "--out", help="Write model.tflite and manifest.json here instead of publishing."),
    version: int = typer.Option(1, min=1, help="With --out: version to write into the manifest."),
    reason: str = typer.Option("", help="Why, in a few words."),
    as_json: bool = AS_JSON,
    dry_run: bool = typer.Option(False, "--dry-run", help="Train and compare, then only show what came of it."),
) -> None:
    """Train here and now, without a running trainer, and publish, or write the model to a folder.

    Example:  headwater train run --class pump

    Example:  headwater train run --class rig --folder recordings --rows 400 --out my-model
    """
    from cloud_trainer import local  # noqa: PLC0415  # numpy, which `--help` does not need

    settings, asked = load("trainer", TrainerSettings), _request(asset_class, offsets, reason, "")
    if folder is None and out is None and not dry_run:
        _show(local.publish(settings, asked), as_json)
        return
    if folder is None:
        made = local.from_cluster(settings, asked)
    elif out is None and not dry_run:
        raise BadInput("a model from a folder is not published directly", hint="add --out DIR; headwater fleet publish")
    else:
        made = local.from_recordings(settings, folder, asset_class, site, rows)
    manifest = local.write(made, asked.request_id, version, None if dry_run else out)
    typer.echo(manifest.encode().decode() if as_json else _card(manifest))
    if not as_json and out is not None and not dry_run:
        typer.echo(f"written to {out}; publish it with: headwater fleet publish {out}")


@app.command()
def jobs(as_json: bool = AS_JSON) -> None:
    """List requests and what became of them, oldest first.

    Example:  headwater train jobs
    """
    from cloud_trainer.runs import Runs  # noqa: PLC0415  # librdkafka, which `--help` does not need

    runs = Runs(load("trainer", TrainerSettings).kafka)
    runs.prepare()
    found = list(runs.all().values())
    if as_json:
        typer.echo(json.dumps({"runs": [msgspec.to_builtins(one) for one in found]}, indent=2))
        return
    for one in found:
        typer.echo(_line(one))
    if not found:
        typer.echo("no requests yet; headwater train request --help")


@app.command()
def show(
    version: int = typer.Argument(min=1, help="Published version."), asset_class: str = CLASS, as_json: bool = AS_JSON
) -> None:
    """Show what a version is and what it learned from.

    Example:  headwater train show 3 --class pump
    """
    from headwater.transport.objects import open_store  # noqa: PLC0415  # boto3, which `--help` does not need
    from headwater.transport.registry.publisher import Publisher  # noqa: PLC0415  # cryptography is slow to load

    settings = load("trainer", TrainerSettings)
    models = Publisher(open_store(settings.objects), settings.keys, "models")
    if version not in models.versions(asset_class):
        raise BadInput(f"version {version} of {asset_class} is not published")
    data = models.read(model_path(asset_class, version, MANIFEST_FILE))
    typer.echo(data.decode() if as_json else _card(decode_manifest(data)))


def _request(asset_class: str, offsets: Path | None, reason: str, request_id: str) -> RetrainRequest:
    check_name(asset_class, "asset class")
    name = request_id or f"{asset_class}-{int(time.time())}-{secrets.token_hex(3)}"
    ranges = None
    if offsets is not None:
        try:
            ranges = msgspec.json.decode(offsets.read_bytes(), type=dict[str, dict[str, tuple[int, int]]])
        except OSError as error:
            raise BadInput(f"{offsets} cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BadInput(f"{offsets} holds no ranges: {error}", hint='{"lyon.readings": {"0": [0, 5000]}}') from error
    return RetrainRequest(name, asset_class, ranges, getpass.getuser(), reason)


def _show(run: TrainingRun, as_json: bool) -> None:
    typer.echo(json.dumps(msgspec.to_builtins(run), indent=2) if as_json else _line(run))
    if run.state == "failed":
        raise GateFailed(f"request {run.request_id} failed: {run.detail}")


def _line(run: TrainingRun) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.at / 1000))
    outcome = (
        f"version {run.version} from {run.records:,} records in {run.seconds:.1f} s" if run.version else run.detail
    )
    return f"{when}  {run.request_id}  {run.asset_class}  {run.state}  {outcome}"


def _card(manifest: Manifest) -> str:
    data = manifest.dataset
    lines = [
        f"{manifest.asset_class} version {manifest.version}, {manifest.algorithm}, {manifest.created_at}",
        f"  model: {manifest.size_bytes:,} bytes, sha256 {manifest.sha256}",
        f"  features of {', '.join(manifest.features.channels)}",
        f"  window {manifest.features.window} readings, step {manifest.features.step}",
        f"  dataset: {data.records:,} records, sha256 {data.sha256}",
        *(f"    {topic}: {_ranges(parts)}" for topic, parts in sorted(data.offsets.items())),
        *(f"    left out, {reason}: {count:,}" for reason, count in sorted(data.excluded.items())),
        f"  threshold: {manifest.thresholds['']:.3f} for assets without their own, of {len(manifest.thresholds) - 1}",
        *(f"  parity on {runtime}: {worst:.1e} relative" for runtime, worst in manifest.parity.items()),
    ]
    return "\n".join(lines)


def _ranges(parts: dict[str, tuple[int, int]]) -> str:
    return ", ".join(f"{partition}: {start} to {end}" for partition, (start, end) in sorted(parts.items()))
