"""`headwater replicate watch`: a running link, looked at once a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from headwater.transport import watching
from replicator.operating.live import PartitionView, Snapshot, ask
from replicator.operating.observer import by_topic
from replicator.operating.wording import LANE_HEADER, eta_text, lane_cells, link_text
from replicator.tables import bytes_text, span_text

_SIDES: tuple[JustifyMethod, ...] = ("left", "right", "right", "right", "right", "left", "left")
_ORDER = ("halted", "starting", "paused", "shipping", "up to date")


def once(folder: Path, *, as_json: bool) -> None:
    """Print the link as it is now. Unreachable when none runs."""
    watching.once(lambda: ask(folder), view, as_json=as_json)


def watch(folder: Path, interval_s: float) -> None:
    """Show the link until Ctrl-C; see watching.py."""
    watching.watch(lambda: ask(folder), view, interval_s)


def view(now: Snapshot, before: Snapshot | None) -> RenderableType:
    """Everything as tables that fit 80 columns; without `before` records a second are of the whole life."""
    state = "" if now.open else ", STARTING"
    head = Table(title=f"{now.site} to {now.target}, process {now.pid}{state}", title_justify="left", box=None)
    head.pad_edge = head.show_header = False
    head.add_row("goodput", f"{bytes_text(now.goodput_bytes_s)} a second")
    head.add_row("waits", f"{now.lag_records:,} records, about {bytes_text(now.lag_bytes)}")
    head.add_row("until all is shipped", eta_text(now))
    head.add_row("link", link_text(now))
    share = now.wasted_bytes / now.sent_bytes if now.sent_bytes else 0.0
    head.add_row("on the road", f"{bytes_text(now.sent_bytes)}, of these {share:.1%} in vain")
    if now.budget_left_bytes is not None:
        head.add_row("budget left", bytes_text(now.budget_left_bytes))
    if now.reached_ms:
        head.add_row("last acknowledgement", f"{span_text(max(now.at - now.reached_ms, 0) / 1000)} ago")
    if now.down is not None:
        down = f"{bytes_text(now.down.goodput_bytes_s)} a second, {now.down.lag_records:,} records wait"
        head.add_row("way down", down + ("" if now.down.open else ", STARTING"))
    parts: list[RenderableType] = [head, Text(), _topics(now, before), Text(), _lanes(now), Text()]
    parts += [Text(f"paused: {topic} ({why})", "yellow") for way in now.ways for topic, why in way.paused.items()]
    parts += [
        Text(f"the way {way.direction} has ended: {way.failed} {way.hint}", "bold red", overflow="fold")
        for way in now.ways
        if way.failed
    ]
    parts += [_trouble(each) for each in now.troubles]
    if now.last_error:
        ago = (now.at - now.last_error_at) / 1000
        parts.append(Text(f"last error, {span_text(ago)} ago: {now.last_error}"))
    return Group(*parts)


def _lanes(now: Snapshot) -> Table:
    found = Table(title="lanes", title_justify="left", box=None, pad_edge=False)
    for name, justify in zip(LANE_HEADER, _SIDES, strict=True):
        found.add_column(name, justify=justify, no_wrap=justify == "right", overflow="fold", header_style="bold")
    for lane in now.lanes:
        *cells, may = lane_cells(lane)
        found.add_row(*cells, Text(may, "yellow" if lane.shut else ""))
    return found


def _trouble(each: PartitionView) -> Text:
    where = f"{each.topic}[{each.partition}]"
    if each.doubted:
        return Text(f"{where}: {each.doubted}", "bold red", overflow="fold")
    hint = f"; {each.hint}" if each.hint else ""
    return Text(f"{where} stands still: {each.halted}{hint}", "bold red", overflow="fold")


def _topics(now: Snapshot, before: Snapshot | None) -> Table:
    found = Table(title="topics", title_justify="left", box=None, pad_edge=False)
    if now.down is not None:
        found.add_column("way", header_style="bold")
    for name in ("topic", "state"):
        found.add_column(name, overflow="fold", header_style="bold")
    for name in ("a second", "waiting", "oldest", "proven"):
        found.add_column(name, justify="right", no_wrap=True, header_style="bold")
    formers = [None, None] if before is None else [before, before.down]
    for way, former in zip(now.ways, formers, strict=False):
        for cells in _rows(way, former):
            found.add_row(*([] if now.down is None else [way.direction]), *cells)
    return found


def _rows(now: Snapshot, before: Snapshot | None) -> Iterator[tuple[str, ...]]:
    former = {} if before is None or before.since != now.since else by_topic(before.partitions)
    seconds = max(now.at - (before.at if former and before is not None else now.since), 1) / 1000
    for topic, views in by_topic(now.partitions).items():
        came = sum(each.records for each in views) - sum(each.records for each in former.get(topic, []))
        oldest = max((each.age_ms for each in views if each.age_ms is not None), default=None)
        unproven = sum(
            max(each.source_next - each.safe_to_delete, 0) for each in views if each.safe_to_delete is not None
        )
        known = all(each.safe_to_delete is not None for each in views)
        yield (
            topic,
            min((each.state for each in views), key=_ORDER.index),
            f"{came / seconds:,.0f}",
            f"{sum(each.lag_records for each in views):,}",
            "" if oldest is None else span_text(oldest / 1000),
            f"all but {unproven:,}" if known and unproven else "all" if known else "",
        )
