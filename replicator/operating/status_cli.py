"""`headwater replicate status`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import typer

from headwater.transport import settings as sources
from replicator.operating.options import counted
from replicator.settings import ReplicatorSettings
from replicator.tables import aligned, bytes_text, span_text

if TYPE_CHECKING:
    from replicator.operating.live import Snapshot
    from replicator.operating.report import Report
    from replicator.status import TopicStatus

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
CHECK = typer.Option(False, "--check", help="For monitoring: end with 5 too where something waits and nobody ships it.")
LOCAL = typer.Option(False, "--local", help="Ask only the replicator of this machine, no cluster; 5 where none runs.")
MOST_LAG = typer.Option(
    None, "--max-lag", min=0.0, callback=counted, help="As --check, and end with 5 where a record waits longer (s)."
)


def status(
    as_json: bool = AS_JSON, check: bool = CHECK, local: bool = LOCAL, most_lag_s: float | None = MOST_LAG
) -> None:
    """Say how far each topic is: offsets at the target, records and seconds behind, gaps, replaced, proven.

    Where a topic goes record by record, markers of transactions have offsets at the target too.

    It asks both clusters; while one is away it answers from what the replicator of this machine told last, says since
    when, and ends with 5. Ends with 8 while records that were deleted at the site before they were shipped are named by
    no gap yet, or the target has lost what it had acknowledged; where a partition stands still, with the code of what
    halted it (docs/exit-codes.md). Gaps that a link has named and passed, as on_gap says, stay listed and end with 0.

    Example:  headwater replicate status --json
    """
    from replicator.operating.report import report  # noqa: PLC0415  # `--help` must not wait for the network code

    settings = sources.load("replicator", ReplicatorSettings)
    if local:
        _local(settings.site, as_json)
        return
    found = asyncio.run(report(settings))
    typer.echo(msgspec.json.encode(found).decode() if as_json else _text(found))
    raise typer.Exit(found.check_code(most_lag_s) if check or most_lag_s is not None else found.exit_code)


def _local(site: str, as_json: bool) -> None:
    from replicator.operating.live import ask, folder_of  # noqa: PLC0415  # as above

    now = ask(folder_of(site))
    does = "runs" if now.open else "waits for its clusters"
    lines = [f"the replicator of {site} {does}, process {now.pid}"]
    lines += [f"{t.topic}[{t.partition}]: {t.halted or t.doubted}" for t in now.troubles]
    lines += [f"the way {way.direction} has ended: {way.failed}" for way in now.ways if way.failed]
    typer.echo(msgspec.json.encode(now).decode() if as_json else "\n".join(lines))
    if now.trouble_code:
        raise typer.Exit(now.trouble_code)


def _text(link: Report) -> str:
    several = link.down is not None
    rows = [("way", *_HEADER)[not several :]]
    rows += [(way.direction, *_row(topic))[not several :] for way in link.ways for topic in way.topics]
    lines = [*_staleness(link), aligned(rows)]
    for way in link.ways:
        lines += _absence(way)
        lines += [f"paused: {'all topics' if topic == '*' else topic} ({why})" for topic, why in way.paused.items()]
        lines += [line for topic in way.topics for line in _of_topic(topic)]
        if way.is_live and way.process is not None:
            lines += _process(way.process)
    return "\n".join(lines)


_HEADER = ("topic", "engine", "state", "target offsets", "behind", "seconds", "gaps", "replaced", "proven")


def _row(topic: TopicStatus) -> tuple[str, ...]:
    """Below _HEADER."""
    shipped = sum(each.shipped for each in topic.partitions)
    behind = sum(each.lag_records for each in topic.partitions)
    late = max((each.lag_s for each in topic.partitions), default=0.0)
    replaced = sum(sum(each.replaced.values()) for each in topic.partitions)
    proven = ", ".join("-" if p.safe_to_delete is None else str(p.safe_to_delete) for p in topic.partitions)
    counts = (str(shipped), str(behind), f"{late:.1f}", str(len(topic.gaps)), str(replaced))
    return (topic.target, topic.engine, topic.state, *counts, proven)


def _of_topic(topic: TopicStatus) -> list[str]:
    """What people must know beside the table."""
    from replicator import losses  # noqa: PLC0415  # as above

    lines = [f"{topic.target}: record by record, since {topic.why}"] if topic.why else []
    lines += [f"{topic.target}: {name} is {is_}, and would be {want}" for name, (want, is_) in topic.drift.items()]
    for each in topic.partitions:
        lines += losses.sentences(topic.topic, each)
    return lines + [
        f"{gap.topic}[{gap.partition}]: {gap.cause}, offsets {gap.first} to {gap.end - 1}" for gap in topic.gaps
    ]


def _staleness(link: Report) -> list[str]:
    if not link.away:
        return []
    lines = [f"the {name} is away: {why}" for name, why in link.away.items()]
    if link.as_of_ms is not None:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(link.as_of_ms / 1000))
        ago = span_text(max(time.time_ns() // 1_000_000 - link.as_of_ms, 0) / 1000)
        lines.append(f"what follows is what the replicator of this machine told at {at}, {ago} ago")
    return lines


def _absence(link: Report) -> list[str]:
    if link.running is not False or link.paused:
        return []
    said = "has ever run" if link.stored_ms is None else "runs, or it cannot ship: nothing was shipped"
    ago = "" if link.stored_ms is None else f" for {(time.time_ns() // 1_000_000 - link.stored_ms) / 1000:,.0f} s"
    if link.is_live and link.stored_ms is not None:
        return [f"the replicator of {link.site} runs here, but nothing was shipped{ago}; its log says why"]
    return [f"no replicator of {link.site} {said}{ago}; start it with `headwater replicate run`"]


def _process(now: Snapshot) -> list[str]:
    from replicator.operating.wording import LANE_HEADER, eta_text, lane_cells, link_text  # noqa: PLC0415  # as above

    eta = eta_text(now)
    rate, wait = bytes_text(now.goodput_bytes_s), bytes_text(now.lag_bytes)
    lines = [f"process {now.pid}: {rate} a second, about {wait} wait, until all is shipped: {eta}"]
    if now.direction == "down":
        lines = [f"the way down: {rate} a second, about {wait} wait, until all is there: {eta}"]
    else:
        lines += [f"the link: {link_text(now)}", aligned([LANE_HEADER, *map(lane_cells, now.lanes)])]
    lines += [f"{each.topic}[{each.partition}]: {each.doubted}" for each in now.partitions if each.doubted]
    if now.failed:
        lines.append(f"the way {now.direction} has ended: {now.failed}" + (f" ({now.hint})" if now.hint else ""))
    return lines
