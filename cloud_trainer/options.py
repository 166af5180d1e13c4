"""Options that several commands of `headwater train` have."""

from __future__ import annotations

import typer

CLASS = typer.Option(..., "--class", help="Asset class, such as pump.")
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
OFFSETS = typer.Option(
    None,
    "--offsets",
    help='JSON file with the ranges: {"lyon.readings": {"0": [0, 5000]}}; all there is by now if none.',
)
