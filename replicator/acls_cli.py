"""`headwater replicate acls`."""

from __future__ import annotations

import msgspec
import typer

from headwater.transport import settings as sources
from replicator.settings import ReplicatorSettings


def acls(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """Print what the link must be allowed, as lines of kafka-acls.sh for the administrators of both clusters.

    The last block is for pause, resume and trim, and may be left out where nobody does that.

    Example:  headwater replicate acls
    """
    from replicator.acls import acl_lines, operator_lines  # noqa: PLC0415  # `--help` must not wait for the network code

    settings = sources.load("replicator", ReplicatorSettings)
    found = acl_lines(settings) | {"operator": operator_lines(settings)}
    titles = {"operator": "for whoever pauses or trims"}
    lines = [f"# {titles.get(side, f'at the {side}')}\n" + "\n".join(each) for side, each in found.items()]
    typer.echo(msgspec.json.encode(found).decode() if as_json else "\n".join(lines))
