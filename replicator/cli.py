"""`headwater replicate`: ship a site's topics to the cloud, and see how far that is."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import structlog
import typer

from headwater.contract.errors import DataMissing, Untrusted
from headwater.transport import lifecycle, logs, metrics
from headwater.transport import settings as sources
from replicator.mm2.cli import import_mm2
from replicator.operating import cli as operating
from replicator.settings import ReplicatorSettings
from replicator.tables import aligned

if TYPE_CHECKING:
    from replicator.status import LinkStatus
    from replicator.verify import Comparison

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Ship a site's topics from its own Kafka cluster to the cloud's, each record exactly once.\n\n"
    "Example:  headwater replicate run",
)
AS_JSON = typer.Option(False, "--json", help="Print one JSON object.")
VERBOSE = typer.Option(False, "--verbose", "-v", help="Log details.")
app.command("import-mm2")(import_mm2)


@app.callback()
def prepare() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(verbose: bool = VERBOSE) -> None:
    """Ship until told to stop (SIGTERM or Ctrl-C); it may be killed at any instant without losing or doubling a record.

    Settings come from [replicator] in headwater.toml or from the environment; `headwater config show replicator` lists
    them; it needs site, source.brokers and target.brokers (HEADWATER_REPLICATOR__SOURCE__BROKERS=edge.example:9092).
    A topic `readings` of site `lyon` arrives as `lyon.readings`.

    Example:  headwater replicate run
    """
    from replicator.link import run_link  # noqa: PLC0415  # `--help` must not wait for the network code
    from replicator.operating.live import folder_of, served  # noqa: PLC0415  # as above
    from replicator.operating.observer import Observer  # noqa: PLC0415  # as above

    settings = sources.load("replicator", ReplicatorSettings)
    logs.configure(verbose=verbose, part="replicator")
    observer = Observer(settings)
    metrics.serve(settings.metrics_port, settings.metrics_address)

    async def work(stop: asyncio.Event) -> None:
        if settings.metrics_port is not None:
            from replicator.operating.exporting import Exported  # noqa: PLC0415  # 3 MB that others do without

            Exported(settings, observer.figures, observer.snapshot, asyncio.get_running_loop())
        async with served(folder_of(settings.site), observer.snapshot):
            await run_link(settings, stop, observer=observer)

    lifecycle.run(work)
    structlog.get_logger(__name__).info("stopped", site=settings.site)


@app.command()
def status(as_json: bool = AS_JSON) -> None:
    """Say how far each topic is: records shipped, records and seconds behind, gaps, replaced. Asks both clusters.

    Ends with 8 where records were deleted at the site before they were shipped, and where a partition stands still with
    the code of what halted it (docs/exit-codes.md).

    Example:  headwater replicate status --json
    """
    from replicator.status import link_status  # noqa: PLC0415  # as above

    found = asyncio.run(link_status(sources.load("replicator", ReplicatorSettings)))
    typer.echo(msgspec.json.encode(found).decode() if as_json else _status_table(found))
    raise typer.Exit(found.exit_code)


def _absence(link: LinkStatus) -> list[str]:
    if link.running is not False:
        return []
    said = "has ever run" if link.stored_ms is None else "runs, or it cannot ship: nothing was shipped"
    ago = "" if link.stored_ms is None else f" for {(time.time_ns() // 1_000_000 - link.stored_ms) / 1000:,.0f} s"
    return [f"no replicator of {link.site} {said}{ago}; start it with `headwater replicate run`"]


def _status_table(link: LinkStatus) -> str:
    rows: list[tuple[str, ...]] = [("topic", "engine", "state", "shipped", "behind", "seconds", "gaps", "replaced")]
    for topic in link.topics:
        shipped = sum(each.shipped for each in topic.partitions)
        behind = sum(each.lag_records for each in topic.partitions)
        late = max((each.lag_s for each in topic.partitions), default=0.0)
        replaced = sum(sum(each.replaced.values()) for each in topic.partitions)
        counts = (str(shipped), str(behind), f"{late:.1f}", str(len(topic.gaps)), str(replaced))
        rows.append((topic.target, topic.engine, topic.state, *counts))
    from replicator import losses  # noqa: PLC0415  # as above

    lines = [aligned(rows), *_absence(link)]
    lines += [f"{topic.target}: record by record, since {topic.why}" for topic in link.topics if topic.why]
    for topic in link.topics:
        for each in topic.partitions:
            lines += losses.sentences(topic.topic, each)
        lines += [
            f"{gap.topic}[{gap.partition}]: {gap.cause}, offsets {gap.first} to {gap.end - 1}" for gap in topic.gaps
        ]
    return "\n".join(lines)


@app.command()
def verify(as_json: bool = AS_JSON) -> None:
    """Compare every record that both clusters have: key, value, headers, time, partition, order.

    Ends with 8 where records are missing at the target, with 7 where some are doubled or altered. It reads both logs
    whole; over a slow link that takes its time.

    Example:  headwater replicate verify
    """
    from replicator.verify import verify_link  # noqa: PLC0415  # as above

    found = asyncio.run(verify_link(sources.load("replicator", ReplicatorSettings)))
    typer.echo(msgspec.json.encode(found).decode() if as_json else _verify_table(found))
    if any(each.missing for each in found):
        raise typer.Exit(DataMissing.exit_code)
    if not all(each.agrees for each in found):
        raise typer.Exit(Untrusted.exit_code)


def _verify_table(found: list[Comparison]) -> str:
    rows: list[tuple[str, ...]] = [
        ("partition", "compared", "missing", "doubled", "altered", "waiting", "sha256 source", "sha256 target")
    ]
    for each in found:
        counts = (each.compared, each.missing, each.doubled, each.altered, each.waiting)
        digests = (each.source_sha256[:12], each.target_sha256[:12])
        rows.append((f"{each.topic}[{each.partition}]", *map(str, counts), *digests))
    return "\n".join([aligned(rows), *(each.remark for each in found if each.remark)])


operating.add_to(app)
