"""Kills that every system under attack gets alike."""

from __future__ import annotations

import asyncio

from tests.chaos.plan import Fault
from tests.chaos.process import wait
from tests.chaos.supervised import READY_S, Supervised

_START_S = 1.3  # a start takes as long on a busy machine
_QUOTA_BYTES_PER_S = 6_000.0
_STOP_S = 45.0


async def kill(bed: Supervised, fault: Fault) -> str:
    """SIGKILL, and a new life at once."""
    bed.kill()
    bed.start()
    return fault.kind


async def kill_early(bed: Supervised, fault: Fault) -> str:
    """The new life dies while it starts."""
    bed.kill()
    bed.start()
    await asyncio.sleep(fault.hold_s * _START_S)
    return await kill(bed, fault)


async def kill_quota(bed: Supervised, fault: Fault) -> str:
    """Its last batches wait in Kafka's own socket, as nothing but a quota makes them do."""
    await bed.is_ready()
    await bed.limit(_QUOTA_BYTES_PER_S)
    try:
        await asyncio.sleep(0.3 + 0.7 * fault.hold_s)
        await kill(bed, fault)
        await wait(bed.life.ready.is_set, READY_S)
    finally:
        await bed.limit(None)
    return fault.kind


async def stop(bed: Supervised, fault: Fault) -> str:
    """SIGTERM, waited for, and a new life."""
    if not await bed.is_ready():
        return ""
    status = await bed.life.stop(_STOP_S)
    if status != 0:
        bed.ended.append(f"stop: status {status}")
    bed.start()
    return fault.kind
