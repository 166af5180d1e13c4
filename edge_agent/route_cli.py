"""`headwater edge route`: the table of routes, tried without a broker."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from headwater.contract.errors import BadInput

if TYPE_CHECKING:
    from edge_agent.settings import EdgeSettings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Which MQTT messages become which Kafka records; tried here without a broker.\n\n"
    "Example:  headwater edge route list",
)
SITE = typer.Option(None, "--site", help="Name of this plant; overrides the setting edge.site.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")


@app.command("list")
def list_routes(site: str | None = SITE, as_json: bool = AS_JSON) -> None:
    """Show the routes in the order in which they are tried, and the MQTT filters that are subscribed to.

    Example:  headwater edge route list --site lyon
    """
    from edge_agent.bridge.schemas import from_files  # `--help` stays fast
    from edge_agent.bridge.trial import listing

    settings = _load(site)
    found = listing(settings.bridge.routes, settings.site, from_files(settings.bridge.schemas))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for number, row in enumerate(found["routes"], start=1):
        more = "".join(f", {name}={value}" for name, value in row["headers"].items())
        how = f"key {row['key']}, partition by {row['partition']}, decoder {row['decoder']}{more}"
        typer.echo(f"{number:>2}  {row['match']} -> {row['to']}  ({how})")
    typer.echo(f"subscribed to: {', '.join(found['filters'])}")
    for note in found["notes"]:
        typer.echo(f"note: {note}")


@app.command("test")
def try_message(
    topic: str = typer.Argument(help="MQTT topic of the message."),
    payload: str = typer.Argument(help="Its payload as text; @file takes a file, - the standard input."),
    site: str | None = SITE,
    partitions: int | None = typer.Option(
        None, "--partitions", min=1, help="Partitions of the Kafka topics; the setting edge.partitions when left out."
    ),
    offline: bool = typer.Option(False, "--offline", help="Fetch no schema; use those that the bridge has kept here."),
    as_json: bool = AS_JSON,
) -> None:
    """Say what would become of a message: its route, Kafka topic, key, partition, headers and readings, or why not.

    Nothing is connected to, but the schema registry where the message names a schema that is not here. Exits with 0
    when the message would do what it is for, with 2 when it would not: refused, never received, or written as a record
    of `readings` that the scorer will refuse.

    Example:  headwater edge route test lyon/pump/pump-3 '{"v":1,"t":1763718300000,"values":{"flow":31.2}}'
    """
    from edge_agent.bridge.schema_trial import fetching
    from edge_agent.bridge.schemas import from_files
    from edge_agent.bridge.trial import trial

    settings = _load(site)
    found = trial(
        settings.bridge.routes,
        settings.site,
        topic,
        _payload(payload),
        partitions=partitions or settings.partitions,
        now_ms=time.time_ns() // 1_000_000,
        schemas=from_files(settings.bridge.schemas),
        fetch=fetching(settings.bridge, settings.folder, offline=offline),
    )
    for line in [json.dumps(found, indent=2)] if as_json else _lines(found):
        typer.echo(line)
    if found["refusal"] is not None or not found["arrives"] or any("problem" in each for each in found["records"]):
        raise typer.Exit(BadInput.exit_code)


@app.command("reload")
def reload_routes(
    site: str | None = SITE,
    wait_s: float = typer.Option(30.0, "--wait", min=0.1, help="Longest wait for the bridge, in seconds."),
    as_json: bool = AS_JSON,
) -> None:
    """Make the running bridge read its settings again, and say what became of it.

    Nothing of QoS 1 and 2 is lost; for what is published at QoS 0 meanwhile MQTT promises nothing. The bridge's
    counters (`headwater edge top`, metrics) begin again at 0, as after a restart. Exits with 3 when
    the bridge refuses the settings and goes on with the former ones. What the environment of the bridge sets stays as
    it was when it started.

    Example:  headwater edge route reload
    """
    from edge_agent.bridge.reload import demand

    settings = _load(site)
    says = demand(settings.folder, settings.site, wait_s)
    typer.echo(json.dumps({"site": settings.site, "done": True, "says": says}, indent=2) if as_json else says)


def _lines(found: dict[str, Any]) -> list[str]:
    rows = [("topic", found["topic"]), ("route", found["route"] or "none fits")]
    rows += [("also fits", f"{match} (a route above it has the topic)") for match in found["also_fit"]]
    if not found["arrives"]:
        rows.append(("problem", "no filter that is subscribed to matches this topic: it never arrives"))
        return _shown(rows)
    if (refusal := found["refusal"]) is not None:
        rows.append(("refused", f"{refusal['reason']}: {refusal['detail']}"))
        rows += [("hint", refusal["hint"])] if refusal["hint"] else []
    if not found["records"]:
        rows.append(("filtered", "the decoder finds nothing to write; the message is acknowledged"))
    for record in found["records"]:
        rows.append(("record", f"{record['to']}, partition {record['partition']}, key {record['key']}"))
        rows += [("header", f"{name} = {value}") for name, value in record["headers"].items()]
        rows.append(("value", record["value"]))
        rows += [("problem", record["problem"])] if "problem" in record else []
    return _shown(rows)


def _shown(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"{name:<10} {_visible(str(value))}" for name, value in rows]


def _visible(text: str) -> str:
    """A payload is anybody's: its control characters would move the cursor of whoever looks."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _payload(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode("utf-8", "surrogateescape")
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise BadInput(f"the payload {given[1:]} cannot be read: {error.strerror}") from error


def _load(site: str | None) -> EdgeSettings:
    from edge_agent.settings import EdgeSettings
    from headwater.transport import settings

    return settings.load("edge", EdgeSettings, {"site": site} if site is not None else None)
