"""`headwater train certify`: proof for runtimes that were not there when a model was trained."""

from __future__ import annotations

from pathlib import Path

import msgspec
import typer

from cloud_trainer.settings import TrainerSettings
from headwater.contract.canonical import sha256
from headwater.contract.errors import Untrusted
from headwater.contract.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, MAX_MODEL_BYTES, MODEL_FILE, decode_manifest
from headwater.transport.files import read_named, replace_durably
from headwater.transport.settings import load

FOLDER = typer.Argument(help="Folder that headwater train run --out wrote.")
RUNTIME = typer.Option(
    [],
    "--runtime",
    help="Python of an environment with a runtime (make parity-envs), again for more; else the setting.",
)


def certify(
    folder: Path = FOLDER,
    runtime: list[Path] = RUNTIME,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Compare, and leave the manifest as it is."),
) -> None:
    """Replay 10,000 windows and more of a trained model through runtimes of the edge, and certify those that agree.

    The windows, and what training computed of them, are in replay.npz beside the model. The manifest keeps the
    certificates that it has of other runtimes. Nothing is published without one of each runtime that is configured.

    Example:  headwater train certify my-model --runtime build/parity/tflite-runtime/bin/python
    """
    from cloud_trainer.certificates import certifying, replay  # noqa: PLC0415  numpy, which `--help` does not need

    model = read_named(folder / MODEL_FILE, MAX_MODEL_BYTES)
    manifest = decode_manifest(read_named(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES))
    if sha256(model) != manifest.sha256:
        raise Untrusted(f"{folder / MODEL_FILE} is not the model that the manifest beside it describes")
    given = runtime or load("trainer", TrainerSettings).parity.runtimes
    episodes = None if manifest.episodes is msgspec.UNSET else manifest.episodes
    found = certifying.certify(model, replay.load(folder / replay.FILE), manifest.alarm, given, episodes)
    kept = [each for each in manifest.certificates if each.runtime not in {one.runtime for one in found}]
    changed = msgspec.structs.replace(
        manifest,
        certificates=(*kept, *found),
        parity={**manifest.parity, **{each.runtime: each.worst for each in found}},
    )
    changed.check()
    if not dry_run:
        replace_durably(folder / MANIFEST_FILE, changed.encode())
    if as_json:
        typer.echo(msgspec.json.encode({"certificates": found, "written": not dry_run}).decode())
        return
    for each in found:
        typer.echo(
            f"{each.runtime}: {each.windows:,} windows, worst {each.worst:.1e}, 99.9 % below {each.p999:.1e}, "
            f"{each.flips} alarm flips"
        )
    if not dry_run:
        typer.echo(
            f"next: headwater train compare {manifest.asset_class} {folder}, then headwater train publish {folder}"
        )
