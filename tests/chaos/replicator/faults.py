"""What each kind of fault does to the replicator. Each function returns the kind that was really fired."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from tests.chaos.bed import HEADWATER
from tests.chaos.chapter import SPARED
from tests.chaos.kills import kill, kill_early, kill_quota, stop
from tests.chaos.plan import AT, KILL, KILL_EARLY, KILL_LATE, KILL_QUOTA, STOP, TAKEN_OVER, ZOMBIE, Fault
from tests.chaos.process import wait
from tests.chaos.replicator import memory, plan
from tests.chaos.replicator.bed import Bed
from tests.chaos.rivals import taken_over, zombie
from tests.chaos.supervised import READY_S
from tests.proxy import Proxy

_START_S = 1.0
_BEYOND_TIMEOUT_S = 3.5  # a request is given up after three
_QUOTA_BYTES_PER_S = 4_000.0
_REQUEST_BYTES = 20_000
_ANSWER_BYTES = 400
_FETCHED_BYTES = 60_000

Fire = Callable[[Bed, Fault], Awaitable[str]]


async def fire(bed: Bed, fault: Fault) -> str:
    """Do it, and leave a living process behind; the kind that was fired, empty where nothing was."""
    began = time.time()
    try:
        return await _fire(bed, fault)
    finally:
        bed.note(f"{began:.2f} {fault.kind}, hold {fault.hold_s:.2f}, {fault.nth}: {time.time() - began:.1f} s")


async def _fire(bed: Bed, fault: Fault) -> str:
    if bed.system != HEADWATER:
        return await _fire_at_mirror(bed, fault)
    if fault.kind.startswith(AT):
        return await _at_point(bed, fault)
    return await _FIRE[fault.kind](bed, fault)


async def _fire_at_mirror(bed: Bed, fault: Fault) -> str:
    """Where the fault needs a place in our code, a plain kill stands for it; what needs a second one is left out."""
    if fault.kind.startswith(AT) or fault.kind in {KILL_EARLY, KILL_QUOTA}:
        fault = fault._replace(kind=KILL)
    if fault.kind in {TAKEN_OVER, ZOMBIE, STOP, plan.RESTORED, plan.EATEN}:
        return SPARED
    await bed.moves()
    return await _FIRE[fault.kind](bed, fault)


async def _kill_late(bed: Bed, fault: Fault) -> str:
    """What the dead process had sent reaches the target when the next life is under way."""
    await bed.is_ready()
    bed.target_road.stall()
    await asyncio.sleep(0.1 + 0.4 * fault.hold_s)
    bed.kill()
    await wait(bed.start().ready.is_set, READY_S if fault.nth > 1 else fault.hold_s)
    bed.target_road.resume()
    return fault.kind


async def _kill_answer(bed: Bed, fault: Fault) -> str:
    """The target has taken what it did not live to hear of."""
    await bed.is_ready()
    bed.target_road.stall_answers()
    await asyncio.sleep(0.05 + 0.5 * fault.hold_s)
    await kill(bed, fault)
    bed.target_road.resume()
    return fault.kind


async def _throttled(bed: Bed, fault: Fault) -> str:
    await bed.limit(_QUOTA_BYTES_PER_S)
    try:
        await asyncio.sleep(1 + 2 * fault.hold_s)
    finally:
        await bed.limit(None)
    return fault.kind


async def _at_point(bed: Bed, fault: Fault) -> str:
    point = fault.kind.removeprefix(AT)
    starting = point in (*plan.START_POINTS, *plan.ERA_POINTS)
    if point in plan.ERA_POINTS:
        await memory.eat(bed, fault)
    hit = await bed.dies_at(bed.folder, point, fault.nth, starting=starting) if starting else await _in_flow(bed, fault)
    await kill(bed, fault)
    return fault.kind if hit else KILL


async def _in_flow(bed: Bed, fault: Fault) -> bool:
    return await bed.dies_at(bed.folder, fault.kind.removeprefix(AT), fault.nth, starting=False)


async def _eaten(bed: Bed, fault: Fault) -> str:
    await memory.eat(bed, fault)
    bed.start()
    return fault.kind


async def _cut_in(bed: Bed, fault: Fault, *, source: bool, request: bool) -> str:
    """A connection breaks off behind some byte."""
    if not await bed.is_ready():
        return ""
    road = bed.source_road if source else bed.target_road
    before = road.connections
    if request:
        road.cut_after(1 + int(fault.hold_s * (_ANSWER_BYTES if source else _REQUEST_BYTES)))
    else:
        road.cut_after_answers(1 + int(fault.hold_s * (_FETCHED_BYTES if source else _ANSWER_BYTES)))
    if not await wait(lambda: road.connections > before, 3):
        road.cut()
    return fault.kind


async def _lost_answer(bed: Bed, fault: Fault) -> str:
    """What was asked is done, what is answered is lost."""
    if not await bed.is_ready():
        return ""
    bed.target_road.stall_answers()
    await asyncio.sleep(0.05 + fault.hold_s)
    bed.target_road.cut()
    return fault.kind


async def _cut_all(bed: Bed, fault: Fault) -> str:
    if not await bed.is_ready():
        return ""
    bed.source_road.cut()
    bed.target_road.cut()
    return fault.kind


async def _hole(bed: Bed, fault: Fault, *, road: Callable[[Bed], Proxy]) -> str:
    """Nothing comes through for a while, then what was held does, or never."""
    way = road(bed)
    way.stall()
    way.stall_new = True
    await asyncio.sleep(0.3 + 2 * fault.hold_s + (_BEYOND_TIMEOUT_S if fault.nth > 1 else 0))
    way.stall_new = False
    if fault.nth == 1:
        way.cut()
    else:
        way.resume()
    return fault.kind


async def _pause(bed: Bed, fault: Fault, *, source: bool) -> str:
    broker = bed.source if source else bed.target
    broker.pause()
    try:
        await asyncio.sleep(0.3 + 4 * fault.hold_s)
        if fault.nth > 1:  # killed while it is not answered
            bed.kill()
            bed.start()
            await asyncio.sleep(0.5)
    finally:
        broker.resume()
    return fault.kind


async def _restart(bed: Bed, fault: Fault, *, source: bool, killed: bool) -> str:
    broker = bed.source if source else bed.target
    await asyncio.to_thread(broker.kill if killed else broker.stop)
    await asyncio.to_thread(broker.start)
    return fault.kind


_FIRE: Mapping[str, Fire] = {
    KILL: kill,
    KILL_EARLY: kill_early,
    KILL_LATE: _kill_late,
    KILL_QUOTA: kill_quota,
    plan.KILL_ANSWER: _kill_answer,
    plan.TARGET_REQUEST: partial(_cut_in, source=False, request=True),
    plan.TARGET_ANSWER: partial(_cut_in, source=False, request=False),
    plan.SOURCE_REQUEST: partial(_cut_in, source=True, request=True),
    plan.SOURCE_ANSWER: partial(_cut_in, source=True, request=False),
    plan.LOST_ANSWER: _lost_answer,
    plan.CUT_ALL: _cut_all,
    plan.TARGET_HOLE: partial(_hole, road=lambda bed: bed.target_road),
    plan.SOURCE_HOLE: partial(_hole, road=lambda bed: bed.source_road),
    plan.TARGET_RESTART: partial(_restart, source=False, killed=False),
    plan.TARGET_KILL: partial(_restart, source=False, killed=True),
    plan.TARGET_PAUSE: partial(_pause, source=False),
    plan.SOURCE_RESTART: partial(_restart, source=True, killed=False),
    plan.SOURCE_KILL: partial(_restart, source=True, killed=True),
    plan.SOURCE_PAUSE: partial(_pause, source=True),
    plan.EXPIRED: memory.expired,
    plan.DROPPED: memory.dropped,
    plan.RESTORED: memory.restored,
    plan.THROTTLED: _throttled,
    plan.EATEN: _eaten,
    TAKEN_OVER: taken_over,
    ZOMBIE: zombie,
    STOP: stop,
}
