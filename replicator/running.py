"""Run a link, and begin again where its target was set back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from headwater.contract.errors import Fenced, Permanent
from headwater.transport.kafka_batch import Cluster, SetBack
from headwater.transport.retry import pauses
from replicator.batch_engine import BatchEngine
from replicator.engine import Ends, Engine
from replicator.link import Link
from replicator.operating.observer import Observer
from replicator.settings import ReplicatorSettings
from replicator.sharing.shares import Held
from replicator.way import Way

_log = structlog.get_logger(__name__)
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.2, 30.0  # before the link begins again, if it has to again and again


async def run_link(
    settings: ReplicatorSettings,
    stop: asyncio.Event,
    batch_engine: Callable[[Way, Ends], Engine] = BatchEngine,
    observer: Observer | None = None,
    held: Held | None = None,
) -> Permanent | None:
    """Ship until `stop` is set, then finish what is held and store positions; returns why a partition stood still.

    `batch_engine` makes the engine of each partition that is not compacted; `held`: the shares to ship, if not all.
    Where the target was set back, as after a restore, the link begins again with what the target has now.
    Fenced: another replicator for this site has started. Another Permanent error: no partition can go on.
    """
    observer, rest = observer or Observer(settings), pauses(_FIRST_PAUSE_S, _MOST_PAUSE_S)
    while True:
        try:
            return await _run_once(settings, stop, batch_engine, observer, held)
        except SetBack as error:
            _log.warning("the target was set back, the link begins again", why=str(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), next(rest))
        except Fenced as error:
            if held is not None:
                raise
            raise _taken_over(settings.site, error) from error


def _taken_over(site: str, error: Fenced) -> Fenced:
    return Fenced(
        f"the link of {site} was taken over by a second `headwater replicate run`, or by an `adopt`: {error}",
        hint="end the one that is not wanted; for several that share the link, set replicator.shared = true in all",
        reason=error.reason,
    )


async def _run_once(
    settings: ReplicatorSettings,
    stop: asyncio.Event,
    batch_engine: Callable[[Way, Ends], Engine],
    observer: Observer,
    held: Held | None,
) -> Permanent | None:
    client_id = f"headwater-replicator-{settings.site}"
    near, far = (None, observer.meter) if settings.direction == "up" else (observer.meter, None)
    source, probe, target = (
        Cluster(end, client_id=client_id, meter=meter)
        for end, meter in ((settings.source, near), (settings.source, near), (settings.target, far))
    )
    link = Link(settings, source, probe, target, batch_engine, observer, held)
    try:
        return await link.run(stop)
    finally:
        for cluster in (source, probe, target):
            await cluster.close()
