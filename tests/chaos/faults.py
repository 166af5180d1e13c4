"""What each kind of fault does. Each function returns the kind that was really fired."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping

from tests.chaos import plan
from tests.chaos.bed import Bed
from tests.chaos.kills import kill, kill_early, kill_quota, stop
from tests.chaos.plan import Fault
from tests.chaos.process import wait
from tests.chaos.rivals import stolen, taken_over, zombie
from tests.chaos.supervised import READY_S

_START_S = 1.3  # a start takes as long on a busy machine
_KEEPALIVE_S = 8.0  # by then the bridge (5 s) has noticed a silent broker, and the broker us
_QUOTA_BYTES_PER_S = 8_000.0
_FEW_BYTES = 60_000

Fire = Callable[[Bed, Fault], Awaitable[str]]


async def fire(bed: Bed, fault: Fault) -> str:
    """Do it, and leave a living process behind; the kind that was fired, empty where nothing was."""
    if fault.kind.startswith(plan.AT):
        return await _at_point(bed, fault)
    return await _FIRE[fault.kind](bed, fault)


async def _kill_late(bed: Bed, fault: Fault) -> str:
    """What the dead process had sent reaches Kafka when the next life has learnt the tail."""
    await bed.is_ready()
    bed.kafka_road.stall()
    await asyncio.sleep(0.1 + 0.5 * fault.hold_s)
    bed.kill()
    await wait(bed.start().ready.is_set, READY_S)
    bed.kafka_road.resume()
    return fault.kind


async def _at_point(bed: Bed, fault: Fault) -> str:
    point = fault.kind.removeprefix(plan.AT)
    hit = await bed.dies_at(bed.folder, point, fault.nth, starting=point in plan.START_POINTS)
    await kill(bed, fault)
    return fault.kind if hit else plan.KILL


async def _mqtt_cut(bed: Bed, fault: Fault) -> str:
    if not await bed.is_ready():
        return ""
    before = bed.mqtt_road.connections
    bed.mqtt_road.cut()
    await wait(lambda: bed.mqtt_road.connections > before, 3)
    return fault.kind


async def _mqtt_half(bed: Bed, fault: Fault) -> str:
    if not await bed.is_ready():
        return ""
    before = bed.mqtt_road.connections
    bed.mqtt_road.cut_after(1 + int(200 * fault.hold_s))
    await wait(lambda: bed.mqtt_road.connections > before, 3)
    return fault.kind


async def _mqtt_hole(bed: Bed, fault: Fault) -> str:
    if not await bed.is_ready():
        return ""
    bed.mqtt_road.stall()
    bed.mqtt_road.stall_new = True
    await asyncio.sleep(0.3 + 2 * fault.hold_s + (_KEEPALIVE_S if fault.nth == 5 else 0))
    bed.mqtt_road.stall_new = False
    if fault.nth == 1:
        bed.mqtt_road.cut()
    else:
        bed.mqtt_road.resume()
    return fault.kind


async def _mqtt_restart(bed: Bed, fault: Fault) -> str:
    await bed.numbers.quiet()
    await asyncio.to_thread(bed.mqtt.stop)
    await asyncio.to_thread(bed.mqtt.start)
    await bed.numbers.again()
    return fault.kind


async def _mqtt_kill(bed: Bed, fault: Fault) -> str:
    await bed.numbers.quiet()
    await asyncio.to_thread(bed.mqtt.kill)
    await asyncio.to_thread(bed.mqtt.start)
    await bed.numbers.again()
    return fault.kind


async def _kafka_pause(bed: Bed, fault: Fault) -> str:
    bed.kafka.pause()
    try:
        await asyncio.sleep(0.3 + 3 * fault.hold_s)
        if fault.nth > 1:  # killed while Kafka does not answer
            bed.kill()
            bed.start()
            await asyncio.sleep(0.5)
    finally:
        bed.kafka.resume()
    return fault.kind


async def _kafka_restart(bed: Bed, fault: Fault) -> str:
    await asyncio.to_thread(bed.kafka.stop)
    await asyncio.to_thread(bed.kafka.start)
    return fault.kind


async def _kafka_kill(bed: Bed, fault: Fault) -> str:
    await asyncio.to_thread(bed.kafka.kill)
    await asyncio.to_thread(bed.kafka.start)
    return fault.kind


async def _kafka_between(bed: Bed, fault: Fault) -> str:
    """A new life stands still with its fence in Kafka and nothing written, and finds another Kafka when it goes on."""
    point = plan.BETWEEN_POINTS[int(fault.hold_s * len(plan.BETWEEN_POINTS))]
    bed.kill()
    fired, arm = bed.folder / "fired", bed.folder / "arm"
    fired.unlink(missing_ok=True)
    arm.write_text(f"1 {point}\nhold")
    life = bed.start()
    held = await wait(lambda: fired.exists() or life.status is not None, READY_S) and fired.exists()
    arm.unlink(missing_ok=True)
    try:
        await asyncio.to_thread(bed.kafka.kill if fault.kind == plan.KAFKA_KILL_BETWEEN else bed.kafka.stop)
        await asyncio.to_thread(bed.kafka.start)
    finally:
        life.send(signal.SIGCONT)
    if held:
        return fault.kind
    return plan.KAFKA_KILL if fault.kind == plan.KAFKA_KILL_BETWEEN else plan.KAFKA_RESTART


async def _kafka_hole(bed: Bed, fault: Fault) -> str:
    bed.kafka_road.stall()
    bed.kafka_road.stall_new = True
    await asyncio.sleep(0.3 + 4 * fault.hold_s)
    bed.kafka_road.stall_new = False
    if fault.nth == 1:
        bed.kafka_road.cut()
    else:
        bed.kafka_road.resume()
    return fault.kind


async def _kafka_cut(bed: Bed, fault: Fault) -> str:
    bed.kafka_road.cut_after(1 + int(2000 * fault.hold_s))
    await asyncio.sleep(0.2)
    return fault.kind


async def _disk_full(bed: Bed, fault: Fault) -> str:
    """While it runs, and then also while it starts: it may end, it must not lose.

    Files that are longer take nothing at once, shorter ones break off in the middle of a write.
    """
    await bed.is_ready()
    spooled = bed.chapter.combination.ack_after == "spool"
    most = int(fault.hold_s * _FEW_BYTES) if spooled and fault.nth != 2 else 0
    bed.life.files(most)
    await asyncio.sleep(0.2 + fault.hold_s)
    if fault.nth == 1:
        bed.kill()
        bed.start().files(most)
        await bed.life.ends(_START_S)
        bed.life.kill()
        bed.start()
    bed.life.files(None)
    return fault.kind


_FIRE: Mapping[str, Fire] = {
    plan.KILL: kill,
    plan.KILL_EARLY: kill_early,
    plan.KILL_LATE: _kill_late,
    plan.KILL_QUOTA: kill_quota,
    plan.MQTT_CUT: _mqtt_cut,
    plan.MQTT_HALF: _mqtt_half,
    plan.MQTT_HOLE: _mqtt_hole,
    plan.MQTT_RESTART: _mqtt_restart,
    plan.MQTT_KILL: _mqtt_kill,
    plan.KAFKA_PAUSE: _kafka_pause,
    plan.KAFKA_RESTART: _kafka_restart,
    plan.KAFKA_KILL: _kafka_kill,
    plan.KAFKA_BETWEEN: _kafka_between,
    plan.KAFKA_KILL_BETWEEN: _kafka_between,
    plan.KAFKA_HOLE: _kafka_hole,
    plan.KAFKA_CUT: _kafka_cut,
    plan.DISK_FULL: _disk_full,
    plan.TAKEN_OVER: taken_over,
    plan.ZOMBIE: zombie,
    plan.STOLEN: stolen,
    plan.STOP: stop,
}

# What a system without a life of its own in Kafka can be asked to bear.
FOR_STOCK = frozenset({plan.KILL, plan.KILL_EARLY, plan.MQTT_CUT, plan.MQTT_HALF, plan.KAFKA_PAUSE, plan.KAFKA_CUT})
