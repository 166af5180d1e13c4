"""A link that several instances share: each runs the shares that the group gives it (docs/adr/replicator-sharing.md).

The assignment only says who ought to ship. What keeps records from being written twice while two believe that they
have a share is the same as ever: sequences at the target, and the fenced writer of each share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from headwater.contract.errors import Fenced, HeadwaterError, Permanent, Transient
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.membership import HEARTBEAT_S, Membership, Rebalanced
from headwater.transport.retry import Voice
from replicator.operating.observer import Observer
from replicator.running import run_link
from replicator.settings import ReplicatorSettings
from replicator.sharing.shares import SHARES, Held, group_of

_log = structlog.get_logger(__name__)
_BEAT_S = HEARTBEAT_S / 2
_AGAIN_S = 0.5
_LEAVE_S = 2.0
_MOST_DRAIN_S = 1.0  # the next holder waits for nothing

_Run = Callable[[Held, asyncio.Event], Awaitable[Permanent | None]]


class _Assignment:
    """What this instance holds now, as last heard. `changed` is set with each change."""

    def __init__(self, member: Membership) -> None:
        self.changed = asyncio.Event()
        self._member = member

    @property
    def held(self) -> Held:
        return self._member.held

    async def keep(self) -> None:
        """Take part until cancelled. While the target does not answer, what is held stays held."""
        voice, joined = Voice(), False
        while True:
            try:
                if joined:
                    await self._member.beat()
                else:
                    await self._join()
                joined = True
                voice.waited_s()
                await asyncio.sleep(_BEAT_S)
            except Rebalanced:
                joined = False
            except Transient as error:
                joined = False
                if voice.says(str(error)):
                    _log.warning("joining again", why=str(error), hint=error.hint)
                await asyncio.sleep(_AGAIN_S)

    async def _join(self) -> None:
        before = self._member.held
        now = await self._member.join()
        if now != before:
            _log.info("shares", held=sorted(now), of=SHARES)
            self.changed.set()


async def run_shared(settings: ReplicatorSettings, stop: asyncio.Event, observer: Observer) -> Permanent | None:
    """Run the shares of this instance until `stop`; the link begins anew with each change of them.

    Returns and raises what `run_link` does, but for Fenced: another instance has the shares now, or had them just now.
    """
    hasty = settings.model_copy(update={"drain_s": min(settings.drain_s, _MOST_DRAIN_S)})

    def run(held: Held, end: asyncio.Event) -> Awaitable[Permanent | None]:
        return run_link(hasty, end, observer=observer, held=held)

    meter = observer.meter if settings.direction == "up" else None
    async with Cluster(settings.target, client_id=f"{group_of(settings.site)}-group", meter=meter) as cluster:
        member = Membership(cluster, group_of(settings.site), SHARES)
        assignment = _Assignment(member)
        keeping = asyncio.create_task(assignment.keep())
        stopping = asyncio.create_task(stop.wait())
        halted = None
        try:
            while not stop.is_set():
                halted = await _turn(assignment, run, keeping, stopping)
        finally:
            for task in (keeping, stopping):
                task.cancel()
            await asyncio.gather(keeping, stopping, return_exceptions=True)
            with suppress(HeadwaterError, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await member.leave()
    return halted


async def _turn(
    assignment: _Assignment, run: _Run, keeping: asyncio.Task[None], stopping: asyncio.Task[bool]
) -> Permanent | None:
    """Run what is held until that changes, or it ends, or all is to stop."""
    assignment.changed.clear()
    changing = asyncio.create_task(assignment.changed.wait())
    end = asyncio.Event()
    waiting: set[asyncio.Task[object]] = {changing, keeping, stopping}
    running = asyncio.ensure_future(run(assignment.held, end)) if assignment.held else None
    try:
        await asyncio.wait({*waiting, running} if running else waiting, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            keeping.result()
    finally:
        changing.cancel()
        end.set()
    if running is None:
        return None
    try:
        return await running
    except Fenced as error:
        _log.warning("another instance has taken over", why=str(error))
        await asyncio.sleep(_AGAIN_S)
        return None
