"""The commands by which a link is watched and steered: plan, pause, resume, watch, trim."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import typer

from headwater.contract.errors import BadInput, Refused
from headwater.transport import settings as sources
from replicator.operating.options import counted
from replicator.settings import ReplicatorSettings
from replicator.tables import aligned

if TYPE_CHECKING:
    from replicator.operating.pausing import Paused
    from replicator.operating.planning import Plan, PlannedTopic
    from replicator.operating.trimming import Trim

AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
TOPIC = typer.Argument("*", metavar="[TOPIC]", help="A topic of the site; all of the link where none is named.")
WHY = typer.Option("", "--why", help="For whoever asks later why nothing comes.")
ONLY = typer.Option(None, "--topic", help="Only this topic.")
KEEP = typer.Option(
    24.0, "--keep-hours", min=0.0, max=876_000.0, callback=counted, help="Records younger than this stay in any case."
)
REALLY = typer.Option(False, "--yes", help="Delete; without it nothing is changed.")
ONCE = typer.Option(False, "--once", help="Print it once, as without a terminal.")
INTERVAL = typer.Option(1.0, "--interval", min=0.1, max=3600.0, callback=counted, help="Seconds between two looks.")


def add_to(app: typer.Typer) -> None:
    """Make them commands of `app`."""
    for command in (plan, pause, resume, watch, trim):
        app.command()(command)


def _load() -> ReplicatorSettings:
    return sources.load("replicator", ReplicatorSettings)


def _say(found: object, text: str, as_json: bool) -> None:
    typer.echo(msgspec.json.encode(found).decode() if as_json else text)


def plan(as_json: bool = AS_JSON) -> None:
    """Say what `run` would do: topics that it would create, ship, wait for or refuse, and what differs. Writes nothing.

    Ends with 3 where a topic would be refused.

    Example:  headwater replicate plan
    """
    from replicator.operating.planning import plan_link  # noqa: PLC0415  # `--help` must not wait for the network code

    found = asyncio.run(plan_link(_load()))
    _say(found, _plan_text(found), as_json)
    if found.refused:
        raise typer.Exit(Refused.exit_code)


def _plan_text(found: Plan) -> str:
    several = found.down is not None
    header = ("way", "topic", "target", "action", "engine", "partitions", "to ship", "remarks")
    rows = [header[not several :]]
    rows += [(way.direction, *_plan_row(each))[not several :] for way in found.ways for each in way.topics]
    lines = [f"{found.site}: {found.source} to {found.target}", aligned(rows)]
    for each in (each for way in found.ways for each in way.topics):
        if each.by and each.action != "refuse":
            lines.append(f"{each.topic}: record by record, since {each.by}")
        if each.backlog:
            lines.append(f"{each.topic}: what is late goes to {each.backlog}, so that what is new goes first")
        if each.why:
            lines.append(f"{each.topic}: {each.why}" + (f"; {each.hint}" if each.hint else ""))
        lines += [f"{each.target}: {key} is {is_}, and would be {want}" for key, (want, is_) in each.drift.items()]
    lines += [f"would create {name} for itself, at {way.target}" for way in found.ways for name in way.own]
    if found.left_out:
        lines.append(f"not shipped: {', '.join(f'{name} ({why})' for name, why in found.left_out.items())}")
    return "\n".join(lines)


def _plan_row(each: PlannedTopic) -> tuple[str, ...]:
    added = f" (+{each.added_partitions})" if each.added_partitions else ""
    to_ship = f"{each.records:,}" if each.engine else ""
    partitions = f"{each.partitions}{added}" if each.engine else ""
    return (each.topic, each.target, each.action, each.engine, partitions, to_ship, _remarks(each))


def _remarks(each: PlannedTopic) -> str:
    said = ["paused"] if each.paused else []
    said += [f"{each.void:,} records are older than the target keeps"] if each.void else []
    said += [f"{len(each.drift)} configurations differ"] if each.drift else []
    return ", ".join(said)


def pause(topic: str = TOPIC, why: str = WHY, as_json: bool = AS_JSON) -> None:
    """Stop shipping a topic, or all, within seconds and over restarts, until `resume`; asks the source alone.

    What was read before is still shipped. It works while the target is away, and for all replicators of the site. A
    topic of the way down is named; the cloud is asked then.

    Example:  headwater replicate pause readings --why "satellite costs"
    """
    from replicator.operating.pausing import Pause, whoami  # noqa: PLC0415  # as above

    now = time.time_ns() // 1_000_000
    _steer(topic, Pause(now, whoami(), why), now, as_json)


def resume(topic: str = TOPIC, as_json: bool = AS_JSON) -> None:
    """Go on with a topic that was paused, or take the pause of all back; asks the source alone.

    Example:  headwater replicate resume readings
    """
    _steer(topic, None, time.time_ns() // 1_000_000, as_json)


def _steer(topic: str, wanted: object, now: int, as_json: bool) -> None:
    from replicator.ends import reached  # noqa: PLC0415  # as above
    from replicator.operating.pausing import ALL, Pause, paused, say  # noqa: PLC0415  # as above

    settings: ReplicatorSettings = _load()
    if settings.down_link is not None and topic in settings.down.topics and not settings.ships(topic):
        settings = settings.down_link
    if topic != ALL and topic not in settings.topics and not settings.ships(topic):
        raise BadInput(
            f"the link of {settings.site} does not ship {topic!r}", hint=f"it ships {', '.join(settings.topics)}"
        )

    async def work() -> Paused:
        async with reached(settings, "source", f"headwater-pause-{settings.site}") as source:
            now_paused = await paused(source, settings.site)
            if wanted is None and topic not in now_paused:
                return now_paused
            if isinstance(wanted, Pause) and not wanted.why and topic in now_paused:
                return now_paused  # the reason and time of the first one stay
            await say(source, settings.site, topic, wanted if isinstance(wanted, Pause) else None, now)
            return await paused(source, settings.site)

    found = asyncio.run(work())
    _say(found, _paused_text(settings.site, found), as_json)


def _paused_text(site: str, found: Paused) -> str:
    if not found:
        return f"nothing of {site} is paused"
    rows: list[tuple[str, ...]] = [("paused", "since", "by", "why")]
    for topic, each in sorted(found.items()):
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.at / 1000))
        rows.append(("all topics" if topic == "*" else topic, since, each.by, each.why))
    return aligned(rows)


def watch(as_json: bool = AS_JSON, once: bool = ONCE, interval_s: float = INTERVAL) -> None:
    """Watch the replicator of this machine: rates, what waits, how long yet, the road, what is wrong; Ctrl-C ends it.

    Without a terminal, with --once or --json it prints what it sees and ends; exit code 5 when no replicator runs.

    Example:  headwater replicate watch
    """
    from replicator.operating import watching  # noqa: PLC0415  # as above
    from replicator.operating.live import folder_of  # noqa: PLC0415  # as above

    folder = folder_of(_load().site)
    if as_json or once or not sys.stdout.isatty():
        watching.once(folder, as_json=as_json)
    else:
        watching.watch(folder, interval_s)


def trim(topic: str | None = ONLY, keep_h: float = KEEP, really: bool = REALLY, as_json: bool = AS_JSON) -> None:
    """Delete at the source what is shipped, acknowledged and proven at the target; without --yes say what that is.

    Whoever else reads these topics at the site must be done with them too: records younger than --keep-hours stay.
    Compacted topics are left alone.

    Example:  headwater replicate trim --topic readings --keep-hours 6 --yes
    """
    from replicator.operating.trimming import trim as delete  # noqa: PLC0415  # as above

    found = asyncio.run(delete(_load(), topic, keep_h * 3600, really=really))
    _say(found, _trim_text(found, really), as_json)


def _trim_text(found: Sequence[Trim], really: bool) -> str:
    rows: list[tuple[str, ...]] = [("partition", "log", "proven before", "deleted" if really else "may go", "why")]
    for each in found:
        proven = "nothing" if each.proven is None else str(each.proven)
        rows.append(
            (f"{each.topic}[{each.partition}]", f"{each.first} to {each.end}", proven, f"{each.records:,}", each.why)
        )
    return aligned(rows) + ("" if really else "\nnothing was deleted; --yes deletes")
