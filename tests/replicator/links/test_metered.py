"""Every connection to the far end is paid from the budget, whatever it is for."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

from headwater.contract.topics import remote
from replicator.operating.observer import Observer
from replicator.running import run_link
from replicator.settings import DownSettings
from replicator.ways import run_ways
from tests.replicator.bed import Bed, until


def _connected_to(brokers: str) -> set[int]:
    """Local ports of this process's connections to a broker."""
    port, found = int(brokers.rpartition(":")[2]), set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(handle.name))) as sock:
            if sock.family == socket.AF_INET and sock.getpeername()[1] == port:
                found.add(sock.getsockname()[1])
    return found


async def test_all_connections_of_all_ways_are_metered(bed: Bed) -> None:
    """Those of the shared link, of its group, and of the way down; none to the site."""
    topic, hints = await bed.topic(partitions=4), f"hints-{bed.site}"
    await bed.make(bed.target, hints, 1)
    await bed.fill(topic, 10)
    far, near = bed.target.settings.brokers, bed.source.settings.brokers
    settings = bed.settings(topic, shared=True, down=DownSettings(topics=(hints,)), mm2={"publish": True})
    observer, stop, before = Observer(settings), asyncio.Event(), _connected_to(far)
    running = asyncio.create_task(run_ways(settings, stop, observer))
    try:
        await bed.shipped()

        async def down_is_open() -> bool:
            return observer.down is not None and observer.down.opened

        await until(down_is_open, "the way down is open")

        async def all_are_metered() -> bool:
            metered = observer.meter.ports
            return len(metered) >= 4 and metered == _connected_to(far) - before

        await until(all_are_metered, "each connection to the cloud is metered")
        assert not observer.meter.ports & _connected_to(near)
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)
    assert not observer.meter.ports


async def test_what_the_proof_reads_back_is_paid_for(bed: Bed) -> None:
    """A life that was killed leaves records without a proof; the next one reads them over the link, and counts them."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 200, size=5000)
    await bed.ship_and_die()
    settings = bed.settings(topic)
    observer, stop = Observer(settings), asyncio.Event()
    running = asyncio.create_task(run_link(settings, stop, observer=observer))
    try:

        async def counted() -> bool:
            return observer.meter.carried > 1_000_000

        await until(counted, "what was read back is counted")
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)
    assert await bed.holds(remote(bed.site, topic), 200)
