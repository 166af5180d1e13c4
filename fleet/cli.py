"""`headwater fleet`: keys, signed models, rollouts."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import typer

from fleet import signing
from fleet.documents import OPEN, Documents
from fleet.events import KafkaJournal
from fleet.options import AS_JSON, DRY_RUN, tell
from fleet.reports import KafkaReports
from fleet.rollout import Rollouts
from fleet.settings import FleetSettings
from headwater.contract.errors import BadInput
from headwater.contract.rollout import Rollout, desired
from headwater.transport import logs
from headwater.transport.objects import open_store
from headwater.transport.settings import load

HELP = "Keys, signed models, rollouts in waves, rollback.\n\nExample:  headwater fleet rollout status"
KEYS_HELP = "Signing keys and the root of trust.\n\nExample:  headwater fleet keys init"
ROLLOUT_HELP = (
    "Move sites to a version, wave after wave.\n\n"
    "Example:  headwater fleet rollout start --class pump --version 3 --sites lyon,osaka"
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=HELP)
keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=KEYS_HELP)
rollout = typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False, help=ROLLOUT_HELP)
app.add_typer(keys, name="keys")
app.add_typer(rollout, name="rollout")

signing.add_to(app)

CLASS = typer.Option(..., "--class", help="Asset class, such as pump.")
REASON = typer.Option("", help="Why, in a few words; goes into the signed document and the record of events.")
WAVES = typer.Option("0.1,0.5,1", help="Share of the sites that each wave reaches in all.")


@app.callback()
def prepare(verbose: bool = typer.Option(False, "--verbose", help="Log details.")) -> None:
    """Set up logging."""
    logs.configure(verbose=verbose, part="fleet")


@keys.command()
def init(as_json: bool = AS_JSON, dry_run: bool = DRY_RUN) -> None:
    """Make all signing keys and an empty signed repository.

    Keep the keys of root and targets somewhere safe and offline; each edge gets root.json and nothing else.

    Example:  headwater fleet keys init
    """
    from headwater.transport.registry import repository  # noqa: PLC0415  # cryptography is slow to load

    settings = load("fleet", FleetSettings)
    store, root = open_store(settings.objects), settings.keys / "root.json"
    if dry_run:
        new = repository.check_init(store, settings.keys)
        keys_text = f"make keys in {settings.keys}" if new else f"use the keys that are in {settings.keys}"
        text = f"would {keys_text}, write {root} and sign an empty repository; nothing was written"
    else:
        repository.init_repository(store, settings.keys)
        text = f"keys are in {settings.keys}; copy {root} to each edge and set HEADWATER_EDGE__UPDATER__ROOT_FILE to it"
    tell({"keys": str(settings.keys), "root": str(root), "done": not dry_run}, as_json, text)


@rollout.command()
def start(
    asset_class: str = CLASS,
    version: int = typer.Option(..., min=1, help="Published version to move to."),
    sites: str = typer.Option(..., help="Sites, separated by commas."),
    waves: str = WAVES,
    reason: str = REASON,
    as_json: bool = AS_JSON,
    dry_run: bool = DRY_RUN,
) -> None:
    """Send a version out in waves; each waits until every site of the wave before runs it.

    A site that refuses ends the rollout: every site goes back to the previous version, and the exit code is 6.

    Example:  headwater fleet rollout start --class pump --version 3 --sites lyon,osaka --waves 0.5,1
    """
    rollouts, shares, names = _rollouts(as_json), _shares(waves), [site.strip() for site in sites.split(",")]
    if dry_run:
        planned = rollouts.planned(asset_class, version, names, shares)
        text = "\n".join(f"wave {n}: {', '.join(wave)}" for n, wave in enumerate(planned, start=1))
        tell({"waves": planned, "done": False}, as_json, text)
        return
    _show(rollouts.start(asset_class, version, names, shares, reason), as_json)


@rollout.command()
def status(
    asset_class: str = typer.Option("", "--class", help="Asset class; all of them when left out."),
    as_json: bool = AS_JSON,
) -> None:
    """Show each rollout beside what the sites report.

    Example:  headwater fleet rollout status --class pump
    """
    settings = load("fleet", FleetSettings)
    store = _documents(settings)
    found = []
    for name in [asset_class] if asset_class else store.classes():
        document = store.current(name)
        if document is not None:
            found.append(_with_sites(document, settings))
    if as_json:
        typer.echo(json.dumps({"rollouts": found}, indent=2))
        return
    for one in found:
        typer.echo(f"{one['asset_class']}: {one['state']}, version {one['target']}, generation {one['generation']}")
        for site in one["sites"]:
            refused = f"; refused {site['refused']}" if site["refused"] else ""
            wanted = f"{site['wanted']}{' (pinned)' if site['site'] in one['pins'] else ''}"
            void = f"; the limits of {site['void']:,} machines do not hold" if site["void"] else ""
            typer.echo(f"  {site['site']}: runs {site['version'] or 'nothing yet'}, should {wanted}{refused}{void}")
        if one["state"] in OPEN:
            typer.echo(f"  {_open_still(one)}")
    if not found:
        typer.echo("no rollouts yet; headwater fleet rollout start --help")


@rollout.command()
def pause(asset_class: str = CLASS, as_json: bool = AS_JSON) -> None:
    """Hold the next wave; the sites that were reached keep the new version.

    Example:  headwater fleet rollout pause --class pump
    """
    _show(_rollouts(as_json).pause(asset_class), as_json)


@rollout.command()
def resume(asset_class: str = CLASS, waves: str = WAVES, as_json: bool = AS_JSON) -> None:
    """Go on with a rollout that was paused, or whose command was interrupted.

    Example:  headwater fleet rollout resume --class pump --waves 0.5,1
    """
    _show(_rollouts(as_json).resume(asset_class, _shares(waves)), as_json)


@rollout.command()
def rollback(
    asset_class: str = CLASS,
    site: str | None = typer.Option(None, help="The site to send back, by a pin; every site when left out."),
    to: int | None = typer.Option(None, min=1, help="Version to go back to; the previous one when left out."),
    wait: bool = typer.Option(True, help="Wait until the site reports that it runs it."),
    reason: str = REASON,
    as_json: bool = AS_JSON,
    dry_run: bool = DRY_RUN,
) -> None:
    """Send one site (or all) back to an earlier version, which it still has on its own disk.

    Example:  headwater fleet rollout rollback --class pump --site lyon --to 1
    """
    rollouts = _rollouts(as_json)
    document = rollouts.rollback(asset_class, site, to, reason, dry_run=dry_run)
    if dry_run:
        back = document.previous if site is None else document.pins[site]
        number = back.version if back else None
        text = f"would send {site or 'every site that is not pinned'} back to version {number}; nothing changed"
        tell({"class": asset_class, "site": site, "to": number, "done": False}, as_json, text)
        return
    if site is not None and wait:
        rollouts.wait_for(asset_class, site)
    if site is None and document.pins:
        typer.echo(f"pinned sites stay as they are: {', '.join(sorted(document.pins))}", err=True)
    _show(document, as_json)


@rollout.command()
def unpin(
    site: str = typer.Option(..., help="The pinned site."), asset_class: str = CLASS, as_json: bool = AS_JSON
) -> None:
    """Let a site that was rolled back follow the rollout again.

    Example:  headwater fleet rollout unpin --class pump --site lyon
    """
    _show(_rollouts(as_json).unpin(asset_class, site), as_json)


def _documents(settings: FleetSettings) -> Documents:
    from headwater.transport.registry.publisher import Publisher  # noqa: PLC0415  # cryptography is slow to load

    return Documents(Publisher(open_store(settings.objects), settings.keys, "rollout"))


def _rollouts(as_json: bool) -> Rollouts:
    settings = load("fleet", FleetSettings)
    return Rollouts(
        _documents(settings),
        KafkaReports(settings.kafka),
        KafkaJournal(settings.kafka),
        lambda line: typer.echo(line, err=as_json),
        timeout_s=settings.wave_timeout_s,
        poll_s=settings.poll_interval_s,
    )


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInput(f"waves {text!r} are not numbers", hint="such as 0.1,0.5,1") from error


def _with_sites(document: Rollout, settings: FleetSettings) -> dict[str, Any]:
    statuses = KafkaReports(settings.kafka).read(document.sites)
    sites = []
    for site in document.sites:
        report, wanted = statuses.get(site), desired(document, site)
        active = report.active.get(document.asset_class) if report else None
        refused = [
            f"{r.version}: {r.reason} ({r.detail})"
            for r in (report.refused if report else [])
            if r.asset_class == document.asset_class and r.generation >= document.begun
        ]
        sites.append(
            {
                "site": site,
                "wanted": wanted.version if wanted else None,
                "version": active.version if active else None,
                "reported_at": report.at if report else None,
                "refused": ", ".join(refused),
                "void": report.counts.get("void", 0) if report else None,  # machines whose healthy limits do not hold
            }
        )
    return {**_plain(document), "sites": sites}


def _open_still(rollout: dict[str, Any]) -> str:
    """What to do about a rollout that has not ended: whether a command still watches it, nobody can see."""
    since = f"{rollout['reached']} of {len(rollout['sites'])} sites were sent it, the last at {rollout['created_at']}"
    name = rollout["asset_class"]
    return (
        f"{since}; unless a command still watches it, go on with: headwater fleet rollout resume --class {name}, "
        f"or undo it with: headwater fleet rollout rollback --class {name}"
    )


def _plain(document: Rollout) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(document)
    return {**fields, "target": document.target.version, "previous": document.previous and document.previous.version}


def _show(document: Rollout, as_json: bool) -> None:
    text = (
        f"{document.asset_class}: {document.state}, version {document.target.version}, generation {document.generation}"
    )
    tell(_plain(document), as_json, text)
