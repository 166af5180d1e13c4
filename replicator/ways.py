"""What one process runs: the link of a site, shared with other instances or not, and the way down beside it."""

from __future__ import annotations

import asyncio

from headwater.contract.errors import Permanent
from replicator.link import run_link
from replicator.operating.observer import Observer
from replicator.settings import ReplicatorSettings
from replicator.sharing.running import run_shared


async def run_ways(settings: ReplicatorSettings, stop: asyncio.Event, observer: Observer) -> Permanent | None:
    """Run until `stop`; returns and raises what `run_link` does. Where one way ends, the other one is stopped.

    `observer` watches the link of the site.
    """
    down = settings.down_link
    if down is None:
        return await _run(settings, stop, observer)
    ways = [
        asyncio.create_task(_run(settings, stop, observer)),
        asyncio.create_task(_run(down, stop, Observer(down))),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        halted = await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    return next((each for each in halted if each is not None), None)


async def _run(settings: ReplicatorSettings, stop: asyncio.Event, observer: Observer) -> Permanent | None:
    if settings.shared:
        return await run_shared(settings, stop, observer)
    return await run_link(settings, stop, observer=observer)
