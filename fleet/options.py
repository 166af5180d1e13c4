"""What the fleet's commands have in common: options, and how they answer."""

from __future__ import annotations

import json
from typing import Any

import typer

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
DRY_RUN = typer.Option(False, "--dry-run", help="Say what would happen and change nothing.")


def tell(fields: dict[str, Any], as_json: bool, text: str) -> None:
    """Answer a command: one JSON object for programs, else a sentence."""
    typer.echo(json.dumps(fields, indent=2) if as_json else text)
