"""`headwater edge top`: a running bridge, looked at once a second."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edge_agent.bridge.live import Snapshot, ask
from headwater.transport import watching

SHOWN = (
    *("received", "written", "resumed", "recognised", "waiting", "dead_lettered"),
    *("filtered", "dropped", "possible_duplicates"),
)
NO_ROUTE = "(none fits)"
_NAME_AND_NUMBER: tuple[Literal["left", "right"], ...] = ("left", "right")
_PAIRS = 2  # a name and a number, side by side


def once(folder: Path, *, as_json: bool) -> None:
    """Print the bridge as it is now. Unreachable when none runs."""
    watching.once(lambda: ask(folder), view, as_json=as_json)


def watch(folder: Path, interval_s: float) -> None:
    """Show the bridge until Ctrl-C; see watching.py."""
    watching.watch(lambda: ask(folder), view, interval_s)


def rates(now: Snapshot, before: Snapshot | None) -> dict[str, float]:
    """Messages a second of each count since `before` (of the same life), else since the bridge started."""
    former = _same_life(now, before)
    seconds, base = _seconds(now, former), {} if former is None else former.counts
    return {name: (count - base.get(name, 0)) / seconds for name, count in now.counts.items()}


def route_rates(now: Snapshot, before: Snapshot | None) -> list[float]:
    """Messages a second of each route, as `rates`; one that was not there before, or began anew, began at 0."""
    former = _same_life(now, before)
    base = {} if former is None else {(each.match, each.to): each.received for each in former.routes}
    seconds, came = _seconds(now, former), [each.received - base.get((each.match, each.to), 0) for each in now.routes]
    return [(more if more >= 0 else each.received) / seconds for more, each in zip(came, now.routes, strict=True)]


def _same_life(now: Snapshot, before: Snapshot | None) -> Snapshot | None:
    return before if before is not None and before.since == now.since and before.at < now.at else None


def _seconds(now: Snapshot, former: Snapshot | None) -> float:
    return max(now.at - (now.since if former is None else former.at), 1) / 1000


def view(now: Snapshot, before: Snapshot | None) -> RenderableType:
    """Everything as tables that fit 80 columns; without `before` no route has a rate."""
    title = f"bridge of {now.site}, process {now.pid}: {now.standing}"
    head = Table(box=None, pad_edge=False, show_header=False)
    head.add_row("MQTT broker", f"{now.broker} {'connected' if now.connected else 'NOT CONNECTED'}")
    head.add_row("messages a second", f"{rates(now, before).get('received', 0.0):,.0f}")
    head.add_row("unacknowledged", f"{now.unacknowledged:,} messages")
    head.add_row("on the way to Kafka", f"{now.held_bytes / 1024:,.0f} KiB")
    head.add_row("spool", _spool(now))
    counts = Table(title="messages", title_justify="left", box=None, pad_edge=False, show_header=False)
    for justify in _PAIRS * _NAME_AND_NUMBER:
        counts.add_column(justify=justify)
    shown = [(name.replace("_", " "), f"{now.counts.get(name, 0):,}") for name in SHOWN]
    for first in range(0, len(shown), _PAIRS):
        counts.add_row(*(text for pair in shown[first : first + _PAIRS] for text in pair))
    parts: list[RenderableType] = [
        Text(title, "italic", overflow="fold"),
        head,
        Text(),
        counts,
        Text(),
        _routes(now, before),
        Text(),
    ]
    parts += [
        Text(f"last refusal of {each.match or NO_ROUTE}: {each.last_error[:200]}", overflow="fold")
        for each in now.routes
        if each.last_error
    ]
    clocks = now.clocks
    if clocks.furthest:
        off = ", ".join(f"{asset} {_ahead(-ms)}" for asset, ms in clocks.furthest.items())
        parts.append(Text(f"clocks that are off: {clocks.off:,} of {clocks.known:,}; furthest: {off}", "yellow"))
    if now.unaccounted:
        parts.append(Text(f"UNACCOUNTED: {now.unaccounted:,} messages; this is a defect of the bridge", "bold red"))
    if now.last_error:
        ago = (now.at - now.last_error_at) / 1000
        over = " (it is over)" if now.last_error_is_over else ""
        parts.append(Text(f"last error, {ago:,.0f} s ago{over}: {now.last_error}"))
    return Group(*parts)


def _routes(now: Snapshot, before: Snapshot | None) -> Table:
    found = Table(title="routes", title_justify="left", box=None, pad_edge=False)
    for name in ("match", "Kafka topic"):
        found.add_column(name, overflow="fold", header_style="bold")
    for name in ("received", "refused", "waiting", *(() if before is None else ("a second",))):
        found.add_column(name, justify="right", no_wrap=True, min_width=len(name), header_style="bold")
    for each, rate in zip(now.routes, route_rates(now, before), strict=True):
        numbers = [f"{each.received:,}", f"{each.refused:,}", f"{now.waiting.get(each.to, 0):,}"]
        found.add_row(each.match or NO_ROUTE, each.to, *numbers, *([] if before is None else [f"{rate:,.0f}"]))
    return found


def _ahead(ms: int) -> str:
    return f"{abs(ms) / 1000:,.1f} s {'ahead' if ms > 0 else 'behind'}"


def _spool(now: Snapshot) -> str:
    if now.spool is None:
        return "none"
    used, most = now.spool.bytes / 2**20, now.spool.most_bytes / 2**20
    bound = "up to " if now.spool.is_bound else ""
    what = f"{used:,.1f} of {most:,.0f} MiB, {bound}{now.spool.records:,} messages"
    return f"{what}, oldest {now.spool.age_ms / 1000:,.0f} s" if now.spool.records else what
