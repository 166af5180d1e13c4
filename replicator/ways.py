"""What one process runs: the link of a site, shared with other instances or not, and the way down beside it."""

from __future__ import annotations

import asyncio

import structlog

from headwater.contract.errors import Defect, Fenced, Permanent
from replicator.operating.observer import Observer
from replicator.running import run_link
from replicator.settings import ReplicatorSettings
from replicator.sharing.running import run_shared

_log = structlog.get_logger(__name__)


async def run_ways(settings: ReplicatorSettings, stop: asyncio.Event, observer: Observer) -> Permanent | None:
    """Run until `stop`; returns and raises what `run_link` does.

    Where nothing can go on in one way, the other one goes on, and the trouble is raised when that has ended too.
    Fenced, Defect and what is not foreseen end both. `observer` watches the link of the site, its `down` the other way.
    """
    if observer.down is None:
        return await _run(settings, stop, observer)
    ways = [asyncio.create_task(_way(each, stop)) for each in (observer, observer.down)]
    try:
        await asyncio.wait(ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    halted = [way.result() for way in ways]
    failures = [each.failed for each in (observer, observer.down) if each.failed is not None]
    if failures and not stop.is_set():
        raise failures[0]
    return next((each for each in [*failures, *halted] if each is not None), None)


async def _way(observer: Observer, stop: asyncio.Event) -> Permanent | None:
    """One way; Permanent trouble of it is kept in `observer.failed`."""
    settings, over = observer.settings, True
    try:
        return await _run(settings, stop, observer)
    except Permanent as error:
        if isinstance(error, (Fenced, Defect)):
            raise
        over, observer.failed = False, error
        _log.error("nothing goes on", way=settings.direction, why=str(error), hint=error.hint)
        return None
    finally:
        if over:
            stop.set()


async def _run(settings: ReplicatorSettings, stop: asyncio.Event, observer: Observer) -> Permanent | None:
    if settings.shared:
        return await run_shared(settings, stop, observer)
    return await run_link(settings, stop, observer=observer)
