"""What a person sees while the stack starts: one moving line a service on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from headwater.app.stack.stack import Progress


@contextmanager
def shown() -> Iterator[Progress]:
    """A progress to give to `Stack.up`; it speaks on standard error, so that standard output stays data."""
    if not sys.stderr.isatty():
        yield lambda service, event: typer.echo(f"{service}: {event}", err=True)
        return
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.fields[service]:<12}{task.description}"))
    with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as bars:
        lines: dict[str, TaskID] = {}

        def say(service: str, event: str) -> None:
            if service not in lines:
                lines[service] = bars.add_task(event, total=1, service=service)
            bars.update(lines[service], description=event, completed=int(event.startswith("ready")))

        yield say
