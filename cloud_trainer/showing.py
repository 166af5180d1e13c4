"""What several commands of `headwater train` ask for, and how they show what came of it."""

from __future__ import annotations

import getpass
import json
import secrets
import time
from pathlib import Path

import msgspec
import typer

from cloud_trainer.datasets.words import ranges
from cloud_trainer.pool.words import table
from cloud_trainer.settings import TrainerSettings
from headwater.contract.errors import GateFailed
from headwater.contract.manifest import Manifest
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.contract.names import check_name
from headwater.transport.settings import load


def request_of(
    asset_class: str, offsets: Path | None, reason: str, request_id: str = "", dataset: str | None = None
) -> RetrainRequest:
    """A request of whoever is logged in; BadInput for a class that is none, or ranges that are none."""
    check_name(asset_class, "asset class")
    name = request_id or f"{asset_class}-{int(time.time())}-{secrets.token_hex(3)}"
    ranges, digest = None, None
    if offsets is not None or dataset is not None:
        from cloud_trainer.datasets import sessions  # noqa: PLC0415  # numpy, which `--help` does not need

        ranges, digest = sessions.asked_for(load("trainer", TrainerSettings), asset_class, offsets, dataset)
    return RetrainRequest(name, asset_class, ranges, getpass.getuser(), reason, digest)


def show_run(run: TrainingRun, as_json: bool) -> None:
    """Print an outcome; GateFailed where the request failed."""
    typer.echo(json.dumps(msgspec.to_builtins(run), indent=2) if as_json else line_of(run))
    if run.state == "published" and not as_json and run.version is not None:
        typer.echo(next_step(run.asset_class, run.version))
    if run.state == "failed":
        raise GateFailed(f"request {run.request_id} failed: {run.detail}")


def line_of(run: TrainingRun) -> str:
    """An outcome on a line."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.at / 1000))
    outcome = run.detail
    if run.state == "published":
        made = f"version {run.version} from {run.records:,} records in {run.seconds:.1f} s"
        outcome = f"{made}; {run.detail}" if run.detail else made
    return f"{when}  {run.request_id}  {run.asset_class}  {run.state}  {outcome}"


def next_step(asset_class: str, version: int) -> str:
    """How a published version gets to the sites."""
    return f"send it out: headwater fleet rollout start --class {asset_class} --version {version} --sites lyon,osaka"


def card_of(manifest: Manifest) -> str:
    """What a version is, for people."""
    data = manifest.dataset
    lines = [
        f"{manifest.asset_class} version {manifest.version}, {manifest.algorithm}, {manifest.created_at}",
        f"  model: {manifest.size_bytes:,} bytes, sha256 {manifest.sha256}",
        f"  features of {', '.join(manifest.features.channels)}",
        _kind(manifest),
        f"  dataset: {data.records:,} records, sha256 {data.sha256}",
        *(f"    {line}" for line in ranges(data.offsets)),
        *(f"    left out, {reason}: {count:,}" for reason, count in sorted(data.excluded.items())),
        f"  threshold: {manifest.thresholds['']:.3f} for assets without their own, of {len(manifest.thresholds) - 1}",
        *(f"  parity on {runtime}: {worst:.1e} relative" for runtime, worst in manifest.parity.items()),
        *(
            f"  certified for {one.runtime}: {one.windows:,} windows, {one.flips} flips"
            for one in manifest.certificates
        ),
        *(f"  {line}" for line in table(manifest.metrics)),
    ]
    return "\n".join(lines)


def _kind(manifest: Manifest) -> str:
    if manifest.life is msgspec.UNSET:
        return f"  window {manifest.features.window} readings, step {manifest.features.step}"
    return f"  remaining life up to {manifest.life.most:g} cycles, an alarm below {manifest.life.warn:g}"
