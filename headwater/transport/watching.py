"""A process of this machine, shown in the terminal once or again and again; what it is and how it looks is given."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import msgspec
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from headwater.contract.errors import Unreachable

S = TypeVar("S", bound=msgspec.Struct)
View = Callable[[S, S | None], RenderableType]  # of now, beside what was before


def once(ask: Callable[[], S], view: View[S], *, as_json: bool) -> None:
    """Print what `ask` brings now. Unreachable when none runs."""
    now = ask()
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(now)).decode())
    else:
        Console().print(view(now, None))


def watch(ask: Callable[[], S], view: View[S], interval_s: float) -> None:
    """Show it until Ctrl-C; one that ends meanwhile is waited for. Unreachable when none runs at the start."""
    before = ask()
    with suppress(KeyboardInterrupt), Live(view(before, None), auto_refresh=False) as live:
        for now in _each(ask, interval_s):
            live.update(Text(str(now)) if isinstance(now, Unreachable) else view(now, before), refresh=True)
            before = before if isinstance(now, Unreachable) else now


def _each(ask: Callable[[], S], interval_s: float) -> Iterator[S | Unreachable]:
    while True:
        time.sleep(interval_s)
        try:
            yield ask()
        except Unreachable as error:
            yield error
