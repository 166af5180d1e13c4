"""Faults of what the clusters remember: producers that are forgotten, a disk from earlier, records that are deleted."""

from __future__ import annotations

import asyncio

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.chaos.plan import Fault
from tests.chaos.process import wait
from tests.chaos.replicator import plan
from tests.chaos.replicator.bed import Bed
from tests.chaos.replicator.feed import PARTITIONS, PLAIN
from tests.chaos.replicator.logs import committed
from tests.chaos.supervised import READY_S

_REMEMBERED_MS = 86_400_000


async def eat(bed: Bed, fault: Fault) -> None:
    """Kill it, let records come, and delete some of them and everything before at the source."""
    bed.kill()
    await asyncio.sleep(0.3 + fault.hold_s)
    partition = int(fault.hold_s * 1000) % PARTITIONS[PLAIN]
    log = (await asyncio.to_thread(committed, bed.source.bootstrap, PLAIN, PARTITIONS[PLAIN]))[partition]
    if not log:
        return
    end = log[-1].offset + 1
    before = max(log[0].offset, end - int(fault.hold_s * min(20, len(log))))
    await asyncio.to_thread(_delete, bed.source.bootstrap, partition, before)
    bed.eaten[PLAIN, partition] += [each for each in log if each.offset < before]


def _delete(brokers: str, partition: int, before: int) -> None:
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    for future in admin.delete_records([TopicPartition(PLAIN, partition, before)]).values():
        future.result(20)


async def expired(bed: Bed, fault: Fault) -> str:
    """The target forgets producers as after a day: while the link is away, or while it ships."""
    away = fault.nth != 2
    if away:
        bed.kill()
    await asyncio.to_thread(_remember, bed.target.bootstrap, 1)
    await asyncio.sleep(0.6 + fault.hold_s)
    await asyncio.to_thread(_remember, bed.target.bootstrap, _REMEMBERED_MS)
    if away:
        bed.start()
    return fault.kind


def _remember(brokers: str, how_long_ms: int) -> None:
    entry = ConfigEntry("producer.id.expiration.ms", str(how_long_ms), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


async def dropped(bed: Bed, fault: Fault) -> str:
    """The target starts without what it kept of producers."""
    if fault.nth > 1:
        bed.kill()
    await asyncio.to_thread(bed.target.stop)
    bed.forget()
    await asyncio.to_thread(bed.target.start)
    if fault.nth > 1:
        bed.start()
    return fault.kind


async def restored(bed: Bed, fault: Fault) -> str:
    """The target has again what it had at an earlier moment, and from now on a newer copy may be the one."""
    if fault.nth > 1:
        bed.kill()
    await asyncio.to_thread(bed.target.kill)
    there = await asyncio.to_thread(bed.restore)
    await asyncio.to_thread(bed.target.start)
    if fault.nth > 1:
        bed.start()
    await wait(bed.life.ready.is_set, READY_S)
    await asyncio.sleep(fault.hold_s)
    await asyncio.to_thread(bed.backup)
    return fault.kind if there else plan.TARGET_KILL
