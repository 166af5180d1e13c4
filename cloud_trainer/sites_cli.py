"""`headwater train sites`: scaling and thresholds of every asset on the network of its class."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cloud_trainer.showing import next_step
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Manifest
from headwater.contract.messages import RetrainRequest

if TYPE_CHECKING:
    from cloud_trainer.running.calibrating import Network
    from cloud_trainer.running.runner import Kind
    from cloud_trainer.running.sites import Sites
    from cloud_trainer.settings import TrainerSettings

MOST_TOLD = 5


class Asked(NamedTuple):
    """What the command line says."""

    request: RetrainRequest
    model: Path | None
    version: int | None
    folder: Path | None
    out: Path | None
    kind: Kind | None
    as_json: bool
    dry_run: bool


def carry_out(settings: TrainerSettings, asked: Asked) -> None:
    """Measure the assets and publish, write or show what came of it."""
    if asked.model is not None:
        _to_folder(settings, asked, asked.model)
    else:
        _from_registry(settings, asked)


def _to_folder(settings: TrainerSettings, asked: Asked, model: Path) -> None:
    from cloud_trainer.running import calibrating  # noqa: PLC0415  # numpy, which `--help` does not need

    if asked.out is None and not asked.dry_run:
        raise BadInput(
            "a network from a folder is not published directly", hint="add --out DIR; headwater train publish"
        )
    network, began = calibrating.from_files(model), time.monotonic()
    sites = _measured(settings, asked, network)
    _show(asked, sites, _written(asked, sites, network), time.monotonic() - began)


def _from_registry(settings: TrainerSettings, asked: Asked) -> None:
    from cloud_trainer.certificates.certifying import check_certified  # noqa: PLC0415  # numpy, as boto3 below
    from cloud_trainer.running import calibrating  # noqa: PLC0415  # boto3, which `--help` does not need

    registry, began = calibrating.Registry(settings, asked.request.asset_class), time.monotonic()
    publishes = asked.out is None and not asked.dry_run
    before = registry.of_request(asked.request.request_id) if publishes else None
    if before is not None:
        calibrating.tell_of(settings, before, 0.0)
        told = (
            f"version {before.version} was published for {asked.request.request_id} before\n"
            f"{next_step(before.asset_class, before.version)}"
        )
        typer.echo(json.dumps({"version": before.version, "before": True}) if asked.as_json else told)
        return
    network = registry.network(asked.version)
    if publishes:
        check_certified(network.manifest, settings.parity.runtimes)
    sites = _measured(settings, asked, network)
    if publishes:
        manifest = registry.publish(sites, network.model, asked.request.request_id)
        calibrating.tell_of(settings, manifest, time.monotonic() - began)
    else:
        manifest = _written(asked, sites, network)
    _show(asked, sites, manifest, time.monotonic() - began)


def _measured(settings: TrainerSettings, asked: Asked, network: Network) -> Sites:
    from cloud_trainer.running import calibrating  # noqa: PLC0415  # as above

    channels = network.manifest.features.channels
    read = calibrating.readings(settings, asked.request, asked.folder, channels)
    with _progress("measuring assets", len(read.learn.series)) as tell:
        return calibrating.measured(settings, network, read, asked.kind, tell)


def _written(asked: Asked, sites: Sites, network: Network) -> Manifest:
    from cloud_trainer.running import calibrating  # noqa: PLC0415  # as above

    version, out = asked.version or network.manifest.version + 1, None if asked.dry_run else asked.out
    return calibrating.write(sites, network, version, asked.request.request_id, out)


@contextmanager
def _progress(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=total)
        yield lambda done: bar.update(task, completed=done)


def _show(asked: Asked, sites: Sites, manifest: Manifest, seconds: float) -> None:
    where = "nothing is written" if asked.dry_run else f"written to {asked.out}" if asked.out else "published"
    if asked.as_json:
        found = {
            "version": manifest.version,
            "network_of_version": manifest.metrics["network_of_version"],
            "assets": len(manifest.thresholds) - 1,
            "left_out": sites.left_out,
            "unlike_the_others": sites.unlike,
            "features_digest": manifest.features_digest,
            "seconds": round(seconds, 3),
            "outcome": where,
        }
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(
        f"{manifest.asset_class} version {manifest.version}: scaling and threshold of {len(manifest.thresholds) - 1:,} "
        f"assets on the network of version {manifest.metrics['network_of_version']}, in {seconds:.1f} s; {where}"
    )
    for key, why in list(sites.left_out.items())[:MOST_TOLD]:
        typer.echo(f"  {key} has those of the class: {why}")
    if len(sites.left_out) > MOST_TOLD:
        typer.echo(f"  and {len(sites.left_out) - MOST_TOLD:,} more")
    for key in sites.unlike[:MOST_TOLD]:
        typer.echo(f"  {key} scored far above the others while it was taken to be healthy: look at it before you ship")
    if asked.out is not None and not asked.dry_run:
        typer.echo(f"publish it: headwater train publish {asked.out}")
    elif not asked.dry_run:
        typer.echo(next_step(manifest.asset_class, manifest.version))
