"""`headwater edge top`: a running bridge, looked at once a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_agent.bridge.live import Snapshot, ask
from headwater.contract.errors import Unreachable

SHOWN = ("received", "written", "recognised", "dead_lettered", "filtered", "dropped", "waiting", "possible_duplicates")


def once(folder: Path, *, as_json: bool) -> None:
    """Print the bridge as it is now. Unreachable when none runs."""
    now = ask(folder)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(now)).decode())
    else:
        Console().print(view(now, None))


def watch(folder: Path, interval_s: float) -> None:
    """Show the bridge until Ctrl-C; one that ends meanwhile is waited for. Unreachable when none runs at the start."""
    before = ask(folder)
    with suppress(KeyboardInterrupt), Live(view(before, None), auto_refresh=False) as live:
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
    title = f"bridge of {now.site}, process {now.pid}{'' if now.running else ', STARTING'}"
    head = Table(title=title, title_justify="left", box=None, pad_edge=False)
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
        routes.add_row(
            each.match or "(none fits)",
            each.to,
            f"{each.received:,}",
            f"{each.refused:,}",
            waiting,
            each.last_error[:80],
        )
    parts: list[RenderableType] = [head, counts, routes]
    clocks = now.clocks
    if clocks.furthest:
        off = ", ".join(f"{asset} {_ahead(-ms)}" for asset, ms in clocks.furthest.items())
        parts.append(Text(f"clocks that are off: {clocks.off:,} of {clocks.known:,}; furthest: {off}", "yellow"))
    if now.unaccounted:
        parts.append(Text(f"UNACCOUNTED: {now.unaccounted:,} messages; this is a defect of the bridge", "bold red"))
    if now.last_error:
        ago = (now.at - now.last_error_at) / 1000
        parts.append(Text(f"last error, {ago:,.0f} s ago: {now.last_error}"))
    return Group(*parts)


def _ahead(ms: int) -> str:
    return f"{abs(ms) / 1000:,.1f} s {'ahead' if ms > 0 else 'behind'}"


def _spool(now: Snapshot) -> str:
    if now.spool is None:
        return "none"
    used, most = now.spool.bytes / 2**20, now.spool.most_bytes / 2**20
    what = f"{used:,.1f} of {most:,.0f} MiB, {now.spool.records:,} messages"
    return f"{what}, oldest {now.spool.age_ms / 1000:,.0f} s" if now.spool.records else what
