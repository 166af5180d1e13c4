"""`headwater edge top`: a running bridge, looked at once a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_agent.bridge.live import Snapshot, ask
from headwater.contract.errors import Unreachable

SHOWN = ("received", "written", "recognised", "dead_lettered", "filtered", "dropped", "waiting", "possible_duplicates")


def watch(folder: Path, interval_s: float) -> None:
    """Show the bridge until Ctrl-C; one that ends meanwhile is waited for. Unreachable when none runs at the start."""
    before = ask(folder)
    with Live(view(before, None), auto_refresh=False) as live:
        for now in _snapshots(folder, interval_s):
            live.update(view(now, before) if isinstance(now, Snapshot) else Text(str(now)), refresh=True)
            before = now if isinstance(now, Snapshot) else before


def _snapshots(folder: Path, interval_s: float) -> Iterator[Snapshot | Unreachable]:
    while True:
        time.sleep(interval_s)
        try:
            yield ask(folder)
        except Unreachable as error:
            yield error


def rates(now: Snapshot, before: Snapshot | None) -> dict[str, float]:
    """Messages a second of each count since `before` (of the same life), else since the bridge started."""
    same = before is not None and before.since == now.since and before.at < now.at
    since, base = (before.at, before.counts) if same and before is not None else (now.since, {})
    seconds = max(now.at - since, 1) / 1000
    return {name: (count - base.get(name, 0)) / seconds for name, count in now.counts.items()}


def view(now: Snapshot, before: Snapshot | None) -> RenderableType:
    """Everything as tables."""
    a_second = rates(now, before)
    head = Table(title=f"bridge of {now.site}, process {now.pid}", title_justify="left", box=None, pad_edge=False)
    for name in ("MQTT broker", "messages a second", "unacknowledged", "on the way to Kafka", "spool"):
        head.add_column(name, justify="left")
    head.add_row(
        f"{now.broker} {'connected' if now.connected else 'NOT CONNECTED'}",
        f"{a_second.get('received', 0.0):,.0f}",
        f"{now.unacknowledged:,} messages",
        f"{now.held_bytes / 1024:,.0f} KiB",
        _spool(now),
    )
    counts = Table(title="messages", title_justify="left")
    for name in SHOWN:
        counts.add_column(name.replace("_", " "), justify="right")
    counts.add_row(*(f"{now.counts.get(name, 0):,}" for name in SHOWN))
    routes = Table(title="routes", title_justify="left")
    for name in ("match", "Kafka topic", "received", "refused", "waiting records", "last error"):
        routes.add_column(name, justify="right" if name in ("received", "refused", "waiting records") else "left")
    for each in now.routes:
        waiting = f"{now.waiting.get(each.to, 0):,}"
        routes.add_row(each.match, each.to, f"{each.received:,}", f"{each.refused:,}", waiting, each.last_error[:80])
    parts: list[RenderableType] = [head, counts, routes]
    if now.clocks:
        off = ", ".join(f"{asset} {ms / 1000:+.1f} s" for asset, ms in now.clocks.items())
        parts.append(Text(f"clocks furthest off: {off}"))
    if now.last_error:
        parts.append(Text(f"last error: {now.last_error}"))
    return Group(*parts)


def _spool(now: Snapshot) -> str:
    if now.spool is None:
        return "none"
    used, most = now.spool["bytes"] / 2**20, now.spool["most_bytes"] / 2**20
    return f"{used:,.1f} of {most:,.0f} MiB, oldest {now.spool['age_ms'] / 1000:,.0f} s"
