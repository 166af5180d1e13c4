"""`headwater replicate`: ship a site's topics to the cloud, and see how far that is."""

from __future__ import annotations

import asyncio

import typer

from headwater.contract.errors import Permanent
from headwater.transport import lifecycle, logs, metrics
from headwater.transport import settings as sources
from replicator.acls_cli import acls
from replicator.mm2.cli import adopt, import_mm2
from replicator.operating import cli as operating
from replicator.operating.status_cli import status
from replicator.proof.cli import verify
from replicator.records.cli import app as rules
from replicator.settings import ReplicatorSettings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Ship a site's topics from its own Kafka cluster to the cloud's, each record exactly once.\n\n"
    "Example:  headwater replicate run",
)
VERBOSE = typer.Option(False, "--verbose", "-v", help="Log details.")
app.command("import-mm2")(import_mm2)
app.command()(adopt)


@app.callback()
def prepare() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(verbose: bool = VERBOSE) -> None:
    """Ship until told to stop (SIGTERM or Ctrl-C); it may be killed at any instant without losing or doubling a record.

    Where a partition stood still in the end, it ends with the exit code of what halted it.

    Settings come from [replicator] in headwater.toml or from the environment; `headwater config show replicator` lists
    them; it needs site, source.brokers and target.brokers (HEADWATER_REPLICATOR__SOURCE__BROKERS=edge.example:9092).
    A topic `readings` of site `lyon` arrives as `lyon.readings`.

    Example:  headwater replicate run
    """
    import structlog  # noqa: PLC0415  # behind headwater.transport, which has the reason

    from replicator.operating.live import folder_of, refuse_second, served  # noqa: PLC0415  # `--help` must not wait for network code
    from replicator.operating.observer import Observer  # noqa: PLC0415  # as above
    from replicator.ways import run_ways  # noqa: PLC0415  # as above

    settings = sources.load("replicator", ReplicatorSettings)
    logs.configure(verbose=verbose, part="replicator")
    observer = Observer(settings)
    try:
        metrics.serve(settings.metrics_port, settings.metrics_address)
    except Permanent as error:
        refuse_second(folder_of(settings.site), settings.site, error)
        raise

    async def work(stop: asyncio.Event) -> None:
        if settings.metrics_port is not None:
            from replicator.operating.exporting import Exported  # noqa: PLC0415  # 3 MB that others do without

            Exported(observer, asyncio.get_running_loop())
        async with served(folder_of(settings.site), observer.snapshot):
            halted = await run_ways(settings, stop, observer)
        if halted is not None:  # others were shipped, but the end must not look well
            raise halted

    lifecycle.run(work)
    structlog.get_logger(__name__).info("stopped", site=settings.site)


app.command()(status)
app.command()(acls)
app.command()(verify)
app.add_typer(rules, name="rules")
operating.add_to(app)
