"""`headwater replicate acls`."""

from __future__ import annotations

import msgspec
import typer

from headwater.transport import settings as sources
from replicator.settings import ReplicatorSettings


def acls(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Print what the link must be allowed, as lines of kafka-acls.sh for the administrators of both clusters.

    Example:  headwater replicate acls
    """
    from replicator.acls import acl_lines  # noqa: PLC0415  # `--help` must not wait for the network code

    found = acl_lines(sources.load("replicator", ReplicatorSettings))
    lines = [f"# at the {side}\n" + "\n".join(each) for side, each in found.items()]
    typer.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(lines))
