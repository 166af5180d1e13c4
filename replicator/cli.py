"""`headwater replicate`: ship a site's topics to the cloud, and see how far that is."""

from __future__ import annotations

import asyncio

import typer

from headwater.transport import lifecycle, logs, metrics
from headwater.transport import settings as sources
from replicator.settings import ReplicatorSettings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Ship a site's topics from its own Kafka cluster to the cloud's, each record exactly once.",
)
VERBOSE = typer.Option(False, "--verbose", "-v", help="Log details.")


@app.callback()
def prepare() -> None:
    """Keep `run` a command of its own."""


@app.command()
def run(verbose: bool = VERBOSE) -> None:
    """Ship until told to stop (SIGTERM or Ctrl-C); it may be killed at any instant without losing or doubling a record.

    Settings come from [replicator] in headwater.toml or from the environment; `headwater config show replicator` lists
    them. A topic `readings` of site `lyon` arrives as `lyon.readings`.

    Example:
      export HEADWATER_REPLICATOR__SITE=lyon
      export HEADWATER_REPLICATOR__SOURCE__BROKERS=edge.lyon.example:9092
      export HEADWATER_REPLICATOR__TARGET__BROKERS=kafka.example:9092
      headwater replicate run
    """
    from replicator.link import run_link  # noqa: PLC0415  # `--help` must not wait for the network code

    settings = sources.load("replicator", ReplicatorSettings)
    logs.configure(verbose=verbose, part="replicator")
    metrics.serve(settings.metrics_port)

    async def work(stop: asyncio.Event) -> None:
        await run_link(settings, stop)

    lifecycle.run(work)
