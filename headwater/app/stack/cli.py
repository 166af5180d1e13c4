"""`headwater stack`: real Kafka, MQTT and S3 servers on this machine, in one folder."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict
from pathlib import Path

import typer

from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.progress import shown
from headwater.app.stack.stack import CLUSTERS, Stack
from headwater.app.stack.state import StackState
from headwater.transport import settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Real Kafka, MQTT and S3 servers on this machine, to try things out.\n\nExample:  headwater stack up",
)
_HOME = typer.Option(
    None, "--home", help="Folder that holds everything; by default $HEADWATER_HOME/stack.", show_default=False
)
_CLUSTERS = typer.Option(",".join(CLUSTERS), "--clusters", help="Names of the Kafka clusters, separated by commas.")
_JSON = typer.Option(False, "--json", help="Print one JSON object on standard output.")


def _stack(home: Path | None, clusters: str = "") -> Stack:
    names = [name.strip() for name in clusters.split(",") if name.strip()]
    return Stack(home or settings.home() / "stack", names)


@app.command()
def up(
    home: Path | None = _HOME,
    clusters: str = _CLUSTERS,
    new_ports: bool = typer.Option(False, "--new-ports", help="Choose other ports than those remembered."),
    as_json: bool = _JSON,
) -> None:
    """Start what does not run yet, and return when everything answers. It keeps running until `down`.

    Everything listens on 127.0.0.1, on free ports that are chosen once and remembered. The first start fetches
    Kafka (39 MB); later ones take a few seconds.

    Example:  headwater stack up --clusters lyon,cloud
    """
    end_in_order()
    stack = _stack(home, clusters)
    if new_ports:
        stack.forget_ports()
    with shown() as progress:
        state = stack.up(progress)
    typer.echo(json.dumps(_told(stack, state), indent=2) if as_json else _readable(stack, state))


@app.command()
def down(home: Path | None = _HOME, as_json: bool = _JSON) -> None:
    """Stop everything that runs in the stack's folder. The data and the ports are kept.

    Example:  headwater stack down
    """
    stopped = _stack(home).down()
    if as_json:
        typer.echo(json.dumps({"stopped": stopped}))
    else:
        typer.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(home: Path | None = _HOME, as_json: bool = _JSON) -> None:
    """Say of every service whether it runs and answers, and where.

    Example:  headwater stack status --json
    """
    services = _stack(home).status()
    if as_json:
        typer.echo(json.dumps({"services": [asdict(service) for service in services]}, indent=2))
        return
    for service in services:
        pid = f"process {service.pid}" if service.pid else ""
        typer.echo(f"{service.name:<12} {service.kind:<12} {service.state:<14} {service.address:<17} {pid}".rstrip())
    if not services:
        typer.echo("no service was ever started here; `headwater stack up` starts them")


@app.command()
def logs(
    service: str = typer.Argument("", help="A cluster's name, `mqtt` or `s3`; without it the names are listed."),
    home: Path | None = _HOME,
    lines: int = typer.Option(100, "--lines", "-n", min=1, help="How many lines from the end."),
) -> None:
    """Print the end of one service's log; without a name, the names of the services.

    Example:  headwater stack logs cloud -n 20
    """
    stack = _stack(home)
    if service:
        typer.echo(stack.logs(service, lines))
        return
    names = [each.name for each in stack.status()]
    typer.echo("\n".join(names) if names else "no service was ever started here; `headwater stack up` starts them")


@app.command()
def prepare() -> None:
    """Fetch Kafka and make its quick starts, without starting anything (`make setup` does this).

    Example:  headwater stack prepare
    """
    end_in_order()
    with shown() as progress:
        prepare_kafka(lambda event: progress("kafka", event))


def _told(stack: Stack, state: StackState) -> dict[str, object]:
    return {
        "home": str(stack.home),
        "clusters": dict(state.clusters),
        "mqtt": asdict(state.mqtt),
        "s3": {
            "endpoint": state.s3.endpoint,
            "bucket": state.s3.bucket,
            "access_key": state.s3.access_key,
            "credentials_file": str(stack.credentials_file),
        },
        "programs": dict(state.programs),
    }


def _readable(stack: Stack, state: StackState) -> str:
    programs = state.programs
    rows = [(f"Kafka {name}", address, programs["kafka"]) for name, address in state.clusters.items()]
    rows.append(("MQTT", f"{state.mqtt.host}:{state.mqtt.port}", programs["mqtt"]))
    rows.append(("S3", state.s3.endpoint, f"{programs['s3']}, bucket {state.s3.bucket}"))
    table = "\n".join(f"{what:<14}{address:<24}{program}" for what, address, program in rows)
    return f"{table}\nS3 keys are in {stack.credentials_file}; `headwater stack down` stops it all."


def end_in_order() -> None:
    """Treat a polite end (SIGTERM, a closed terminal) like Ctrl-C: what was started is stopped again."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, interrupt)
