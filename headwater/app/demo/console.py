"""How the demo speaks: a progress bar on a terminal, plain lines otherwise, nothing in JSON mode."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from headwater.contract.errors import Unreachable
from headwater.contract.figures import Figure

PLAIN_WIDTH = 132  # of the table where there is no terminal to ask


class Steps:
    """Prints each step as it happens, with the seconds since the start."""

    def __init__(self, *, quiet: bool) -> None:
        out = sys.stderr if quiet else sys.stdout
        width = None if out.isatty() else PLAIN_WIDTH
        self._console = Console(file=out, highlight=False, soft_wrap=True, width=width)
        self._started = time.monotonic()
        self.plain = not self._console.is_terminal

    def say(self, line: str) -> None:
        """One line of what just happened."""
        seconds = time.monotonic() - self._started
        self._console.print(f"[dim]{seconds:6.1f} s[/dim]  {escape(line)}")

    @contextmanager
    def waiting(self, line: str, total: float | None = None) -> Iterator[Callable[[float], None]]:
        """A step that takes a while; call the yielded function with what is done so far."""
        if self.plain:
            self.say(line)
            yield lambda _done: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(line, total=total)
            yield lambda done: progress.update(task, completed=done)
        self.say(line)

    def table(self, figures: list[Figure], titles: dict[str, str]) -> None:
        """What was promised beside what was counted."""
        table = Table(title="Promised and counted")
        for column, justify in (("", "left"), ("promised", "right"), ("counted", "right"), ("", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]  # rich types it as a literal
        for figure in figures:
            counted = counted_text(figure)
            verdict = VERDICTS[verdict_of(figure)]
            note = f"{verdict} [dim]{escape(figure.note)}[/dim]" if figure.note else verdict
            table.add_row(titles.get(figure.name, figure.name), goal_text(figure), counted, note)
        self._console.print(table)

    def print(self, line: str = "") -> None:
        """A line without a time."""
        self._console.print(line, markup=False)


VERDICTS = {"holds": "[green]holds[/green]", "missed": "[red]missed[/red]", "": ""}


def goal_text(figure: Figure) -> str:
    """What was promised, as people read it."""
    if figure.goal is None:
        return ""
    sign = "" if figure.goal == 0 else "≤ " if figure.better == "lower" else "≥ "
    return sign + number(figure.goal, figure.unit)


def counted_text(figure: Figure) -> str:
    """What was counted, as people read it."""
    if figure.value is not None:
        return number(figure.value, figure.unit)
    return "not promised" if figure.note.startswith("needs ") else "nothing"


def verdict_of(figure: Figure) -> str:
    """`holds` or `missed` for what was promised, nothing for the rest."""
    if figure.goal is None or figure.note.startswith("needs "):
        return ""
    return "holds" if figure.met else "missed"


def number(value: float, unit: str) -> str:
    """A number as people read it."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return f"{text} {unit}".strip() if unit != "count" else text


def wait_for(what: str, condition: Callable[[], bool], *, deadline_s: float, every_s: float = 0.1) -> None:
    """Wait until `condition()` holds; Unreachable says what did not happen in time."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise Unreachable(f"{what} did not happen within {deadline_s:.0f} s", hint="the logs say more")
        time.sleep(every_s)
