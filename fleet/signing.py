"""`headwater fleet publish` and `headwater fleet renew`: what is signed beside rollouts."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import typer

from fleet.options import AS_JSON, DRY_RUN, tell
from fleet.settings import FleetSettings
from headwater.contract.canonical import sha256
from headwater.contract.errors import BadInput, GateFailed, Refused
from headwater.contract.manifest import MANIFEST_FILE, MODEL_FILE, decode_manifest, model_path
from headwater.transport.objects import open_store
from headwater.transport.settings import load

KEYS_HINT = "let the setting fleet.keys (HEADWATER_FLEET__KEYS) name the folder that `headwater fleet keys init` made"


def add_to(app: typer.Typer) -> None:
    """Mount the commands."""
    app.command()(renew)
    app.command()(publish)


def renew(
    repair: bool = typer.Option(
        False, help="Also sign anew what another folder's keys have signed by mistake; what they added is left out."
    ),
    as_json: bool = AS_JSON,
    dry_run: bool = DRY_RUN,
) -> None:
    """Sign rollouts, snapshot and timestamp again, before they expire (30, 90 and 45 days); best run daily.

    Expired signatures stop no model that runs; they keep edges from taking anything new.

    Example:  headwater fleet renew
    """
    from headwater.transport.registry.publisher import Publisher  # noqa: PLC0415  # cryptography is slow to load
    from headwater.transport.registry.repair import repair as repaired  # noqa: PLC0415  # as above

    settings = load("fleet", FleetSettings)
    store, roles = open_store(settings.objects), _renewable(settings.keys)
    mended = repaired(store, settings.keys, dry_run=dry_run) if repair else []
    if not (dry_run and mended):
        publishers = [Publisher(store, settings.keys, role) for role in roles]
        for one in publishers:
            one.check({})
        for one in publishers if not dry_run else ():
            one.publish({})
    text = f"signed anew: {', '.join([*roles, 'snapshot', 'timestamp'])}"
    if repair:
        text += f"; repaired: {', '.join(mended) or 'nothing, it was whole'}"
    told = {"roles": roles, "repaired": mended, "done": not dry_run}
    tell(told, as_json, f"would have {text}; nothing was written" if dry_run else text)


def _renewable(folder: Path) -> list[str]:
    """The roles whose keys are in `folder`; Refused when there is none: then nothing would be signed."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise Refused(f"the folder of keys {folder} cannot be read: {error.strerror}", hint=KEYS_HINT) from error
    roles = [role for role in ("models", "rollout") if any(fnmatch(name, f"{role}-*.pem") for name in names)]
    if not roles:
        raise Refused(f"{folder} has no key of models or rollout; nothing was signed", hint=KEYS_HINT)
    return roles


def publish(
    folder: Path = typer.Argument(help="Folder with model.tflite and manifest.json."),
    revoke_below: int = typer.Option(0, min=0, help="Edges take no version below this one any more."),
    as_json: bool = AS_JSON,
    dry_run: bool = DRY_RUN,
) -> None:
    """Sign a model that was made elsewhere; no site runs it before a rollout says so.

    Example:  headwater fleet publish ./my-model
    """
    from headwater.transport.registry.publisher import Publisher  # noqa: PLC0415  # cryptography is slow to load

    try:
        model, raw = (folder / MODEL_FILE).read_bytes(), (folder / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise BadInput(f"{folder} has no readable {MODEL_FILE} and {MANIFEST_FILE}: {error.strerror}") from error
    manifest = decode_manifest(raw)
    if (sha256(model), len(model)) != (manifest.sha256, manifest.size_bytes):
        raise BadInput(f"{folder / MANIFEST_FILE} is for another model: digest or size differ")
    if not manifest.certified():
        raise GateFailed(
            f"{folder} is certified for no runtime: nothing shows that edges compute what training computed",
            hint=f"headwater train certify {folder}",
        )
    files = {
        model_path(manifest.asset_class, manifest.version, MODEL_FILE): model,
        model_path(manifest.asset_class, manifest.version, MANIFEST_FILE): raw,
    }
    settings = load("fleet", FleetSettings)
    floor = {model_path(manifest.asset_class, manifest.version, MANIFEST_FILE): {"revoked_below": revoke_below}}
    publisher = Publisher(open_store(settings.objects), settings.keys, "models")
    (publisher.check if dry_run else publisher.publish)(files, floor if revoke_below else None)
    told = {"class": manifest.asset_class, "version": manifest.version, "sha256": manifest.sha256, "done": not dry_run}
    what = f"version {manifest.version} of {manifest.asset_class}"
    tell(told, as_json, f"{what} would be signed; nothing was written" if dry_run else f"{what} is signed")
