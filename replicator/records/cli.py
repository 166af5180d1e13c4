"""`headwater replicate rules`: rules for records, tried without a broker."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from headwater.contract.errors import BadInput
from headwater.transport import settings as sources
from headwater.transport.files import read_named
from replicator.settings import ReplicatorSettings

if TYPE_CHECKING:
    from headwater.transport.kafka_batch import Record
    from replicator.records.trial import Trial

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Which records are shipped, and what is changed in them; tried here without a broker.\n\n"
    'Example:  headwater replicate rules test readings --key pump-3 --value \'{"values":{"flow":31.2}}\'',
)
KEY = typer.Option(None, "--key", help="Its key as text; none where left out.")
VALUE = typer.Option(None, "--value", help="Its value as text; @file takes a file, - the standard input; none: none.")
HEADER = typer.Option([], "--header", help="A header, name=value; several times for several.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
_MOST_BYTES = 1 << 20
_LEFT_OUT = 1  # as grep says that nothing fits; 2 is a mistake of whoever asks


@app.callback()
def prepare() -> None:
    """Keep `test` a command of its own."""


@app.command("test")
def try_record(
    topic: str = typer.Argument(help="Topic of the record, by its name at the site."),
    key: str | None = KEY,
    value: str | None = VALUE,
    header: list[str] = HEADER,
    as_json: bool = AS_JSON,
) -> None:
    """Say what the rules of [[replicator.records]] would do with a record, and show what would be shipped.

    Nothing is connected to, and nothing but the rules need be set. A record is taken to be the first one of its key, so
    that every_s lets it pass. Ends with 0 where it would be shipped, with 1 where it would be left out.

    Example:  headwater replicate rules test readings --key pump-3 --value '{"values":{"flow":31.2}}' --header line=2
    """
    from replicator.records.choosing import salt_of  # noqa: PLC0415  # `--help` must not wait for the network code
    from replicator.records.settings import rules_of  # noqa: PLC0415  # as above
    from replicator.records.trial import tried  # noqa: PLC0415  # as above

    settings = sources.load("replicator", ReplicatorSettings, _unneeded())
    if not settings.ships(topic):
        patterns = [f"what {pattern} fits" for pattern in settings.selection.include]
        raise BadInput(
            f"the link of {settings.site} does not ship {topic!r}",
            hint=f"it ships {', '.join([*settings.topics, *patterns])}",
        )
    found = tried(topic, rules_of(settings.records, topic), salt_of(settings), _record(key, value, header))
    typer.echo(msgspec.json.encode(found).decode() if as_json else _text(found))
    if not found.shipped:
        raise typer.Exit(_LEFT_OUT)


def _unneeded() -> dict[str, Any]:
    """Stand-ins for what a link needs and a rule does not, where it is not set."""
    found: dict[str, Any] = {} if sources.is_given("replicator", "replicator.site") else {"site": "site"}
    for end in ("source", "target"):
        if not sources.is_given("replicator", f"replicator.{end}.brokers"):
            found[end] = {"brokers": "localhost:9092"}
    return found


def _record(key: str | None, value: str | None, header: list[str]) -> Record:
    from headwater.transport.kafka_batch import Record  # noqa: PLC0415  # as above

    pairs = []
    for each in header:
        name, divided, content = each.partition("=")
        if not divided or not name:
            raise BadInput(f"--header {each!r} is not name=value")
        pairs.append((name, _bytes(content)))
    data = None if value is None else _payload(value)
    return Record(0, time.time_ns() // 1_000_000, None if key is None else _bytes(key), data, tuple(pairs))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _payload(given: str) -> bytes:
    if given == "-":
        found = sys.stdin.buffer.read(_MOST_BYTES + 1)
        if len(found) > _MOST_BYTES:
            raise BadInput(f"the value on the standard input is larger than {_MOST_BYTES:,} bytes")
        return found
    return read_named(Path(given[1:]), _MOST_BYTES) if given.startswith("@") else _bytes(given)


def _text(found: Trial) -> str:
    if not found.steps:
        rows = [("engine", "batch: no rule is for this topic, its batches are passed on as they are")]
    else:
        rows = [("engine", "record: rules")]
    rows += [
        (each.rule, each.does + (f" (its value is {each.unreadable})" if each.unreadable else ""))
        for each in found.steps
    ]
    if found.record is not None and found.steps:
        rows.append(("key", _visible(found.record.key)))
        rows += [("header", f"{name} = {_visible(content)}") for name, content in found.record.headers.items()]
        rows.append(("value", _visible(found.record.value)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {content}" for name, content in rows)


def _visible(text: str | None) -> str:
    """A value is anybody's: its control characters would move the cursor of whoever looks."""
    if text is None:
        return "(none)"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
