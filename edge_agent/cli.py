"""`headwater edge`: one box in a plant."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import typer

from edge_agent.route_cli import app as routes

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="One box in a plant: bridge MQTT to Kafka, score readings, fetch models.\n\n"
    "Example:  HEADWATER_EDGE__SITE=lyon headwater edge run",
)
app.add_typer(routes, name="route")
SITE = typer.Option(None, "--site", help="Name of this plant; overrides the setting edge.site.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command()
def run(site: str | None = SITE) -> None:
    """Run bridge, scorer and updater, each as a process that is started again when it ends.

    Stops in order on SIGTERM or Ctrl-C: what was received is written, the MQTT broker keeps the rest.

    Example:  headwater edge run --site lyon
    """
    _load(site)
    # The supervisor needs nothing of what was loaded to read the command line.
    os.execv(sys.executable, [sys.executable, "-m", "edge_agent", "run"])  # noqa: S606  no shell is wanted


@app.command()
def setup(
    site: str | None = SITE,
    dry_run: bool = typer.Option(False, "--dry-run", help="Only ask Kafka which are missing, and name them."),
    as_json: bool = AS_JSON,
) -> None:
    """Create the topics of the edge and of its routes that are missing; waits for Kafka. `run` does it too.

    Example:  headwater edge setup --dry-run
    """
    settings = _load(site)
    made: list[str] = []
    missing, note = settings.topics, ""
    if dry_run:
        missing, note = _missing(settings)
    else:
        from edge_agent.parts import setup_topics
        from headwater.transport import logs

        logs.configure(part="setup")
        made = setup_topics(settings)
    if as_json:
        topics = [{"name": s.name, "partitions": s.partitions, "configs": dict(s.configs)} for s in missing]
        typer.echo(json.dumps({"topics": topics, "created": made, "done": not dry_run, "note": note}, indent=2))
    elif dry_run and missing:
        typer.echo(note, nl=bool(note), err=True)
        for spec in missing:
            configs = ", ".join(f'{name} = "{value}"' for name, value in spec.configs.items())
            typer.echo(f"{spec.name}: {spec.partitions} partitions, {configs}")
    else:
        typer.echo(f"created {', '.join(made)}" if made else f"all {len(settings.topics)} topics were there already")


@app.command()
def bridge(site: str | None = SITE) -> None:
    """Run the bridge alone: MQTT to the topic `readings`, each message once.

    Example:  headwater edge bridge --site lyon
    """
    _load(site)
    _run_part("bridge")


@app.command()
def scorer(site: str | None = SITE) -> None:
    """Run the scorer alone: readings to scores and alarms.

    Example:  headwater edge scorer --site lyon
    """
    _load(site)
    _run_part("scorer")


@app.command()
def updater(
    site: str | None = SITE, once: bool = typer.Option(False, "--once", help="Look for new models once, then end.")
) -> None:
    """Run the updater alone: fetch signed models, verify and try them, and hand them to the scorer.

    Example:  headwater edge updater --once
    """
    _load(site)
    _run_part("updater", once=once)


@app.command()
def status(
    site: str | None = SITE,
    as_json: bool = AS_JSON,
    check: bool = typer.Option(False, "--check", help="Exit with 5 unless everything works (for health checks)."),
) -> None:
    """Say what runs on this box: processes, the model of each class, what was refused and why.

    Example:  headwater edge status --json
    """
    from edge_agent import status as outside
    from edge_agent.status_text import lines

    settings = _load(site)
    found = outside.report(settings)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=str))
    else:
        for line in lines(found):
            typer.echo(line)
    if check:
        outside.check(settings, found)


@app.command()
def acknowledge(
    episode: str = typer.Argument(..., help="Id of the episode, as the topic alarms and `edge status` name it."),
    is_false: bool = typer.Option(..., "--false/--true", help="Nothing was wrong; or there was."),
    by: str = typer.Option("", help="Who says so."),
    site: str | None = SITE,
    as_json: bool = AS_JSON,
) -> None:
    """Say that an alarm was false or true. Of a model that follows its machines, false ends it and raises the margin.

    Example:  headwater edge acknowledge lyon-pump-2-1234 --false --by anna
    """
    from edge_agent.acknowledging import acknowledge as say

    said = say(_load(site), episode, by, is_false=is_false)
    if as_json:
        typer.echo(json.dumps(said._asdict(), indent=2))
        return
    typer.echo(f"{episode}: called {'false' if is_false else 'true'}, in readings[{said.partition}]")
    if not said.was_open:
        typer.echo("it had ended already, so nothing else changes")


@app.command()
def overhauled(
    asset: str = typer.Argument(..., help="The asset that is as new: repaired, exchanged, put into service."),
    failed: bool = typer.Option(False, "--failed", help="It had run to failure; else the overhaul came before one."),
    by: str = typer.Option("", help="Who says so."),
    site: str | None = SITE,
    as_json: bool = AS_JSON,
) -> None:
    """Say that an asset was overhauled: its life is counted anew from here, and its warning of remaining life ends.

    Say it when it is done, before the next cycle of work. The cloud learns only from lives that ended with --failed.

    Example:  headwater edge overhauled engine-7 --failed --by anna
    """
    from edge_agent.overhauling import overhauled as say

    settings = _load(site)
    said = say(settings, asset, by, failed=failed)
    if as_json:
        typer.echo(json.dumps(said._asdict(), indent=2))
        return
    typer.echo(f"{asset}: overhauled{' after a failure' if failed else ''}, in readings[{said.partition}]")
    if said.asset_class:
        most = settings.scorer.checkpoint_interval_s
        typer.echo(f"headwater edge lives may show the life before until the next checkpoint, in {most:g} s at most")
    else:
        typer.echo(f"no model has judged {asset} yet: check its name, unless it is new", err=True)


@app.command()
def lives(site: str | None = SITE, as_json: bool = AS_JSON) -> None:
    """What is left of the lives of assets that have a model of remaining life, the shortest first.

    It is as the scorer stored it last, which the column `stored` says: an overhaul shows behind the next checkpoint
    (edge.scorer.checkpoint_interval_s).

    Example:  headwater edge lives
    """
    from edge_agent.lives import lines
    from edge_agent.lives import lives as read

    found = read(_load(site))
    if as_json:
        typer.echo(json.dumps({"lives": found}, indent=2))
    else:
        typer.echo("\n".join(lines(found)))


@app.command()
def top(
    site: str | None = SITE,
    as_json: bool = AS_JSON,
    once: bool = typer.Option(False, "--once", help="Print it once, as without a terminal."),
    interval_s: float = typer.Option(1.0, "--interval", min=0.1, help="Seconds between two looks."),
) -> None:
    """Watch the bridge of this box: rate, what waits, spool, routes, clocks that are off, last error; Ctrl-C ends it.

    Without a terminal, with --once or --json it prints what it sees and ends; exit code 5 when no bridge runs.

    Example:  headwater edge top
    """
    from edge_agent import top as seen

    folder = _load(site).folder
    if as_json or once or not sys.stdout.isatty():
        seen.once(folder, as_json=as_json)
    else:
        seen.watch(folder, interval_s)


def _load(site: str | None) -> Any:
    """The settings, checked before anything starts; children read them again from where these came."""
    from edge_agent.settings import EdgeSettings  # `--help` stays fast
    from headwater.transport import settings

    if site is not None:
        os.environ["HEADWATER_EDGE__SITE"] = site
    return settings.load("edge", EdgeSettings)


def _missing(settings: Any) -> tuple[Any, str]:
    """The topics that Kafka does not have; all, and why, where it does not answer."""
    from headwater.contract.errors import Unreachable
    from headwater.transport.kafka import missing_topics

    quick = settings.kafka.model_copy(update={"request_timeout_s": min(5.0, settings.kafka.request_timeout_s)})
    try:
        return missing_topics(quick, settings.topics), ""
    except Unreachable as error:
        return settings.topics, f"all topics are named, because {error}"


def _run_part(part: str, *, once: bool = False) -> None:
    from edge_agent.parts import run_part

    run_part(part, once=once)
