"""What several commands of a link do with their options."""

from __future__ import annotations

import math

import typer


def counted(value: float | None) -> float | None:
    """A number that counts something; usage error for `nan` and `inf`, which no bound of an option catches."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number that can be counted")
    return value
