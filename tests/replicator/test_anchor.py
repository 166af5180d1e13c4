"""Where a link goes on after its last life ended without a word, or after the logs changed behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from msgspec import structs

from headwater.contract.errors import DataMissing
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import encode, restamp
from headwater.transport.kafka_batch.calls import Fetched
from replicator.batch_engine import BatchEngine
from replicator.link import run_link
from replicator.position import DIVERGED, DOUBLED, RETENTION
from tests.replicator.bed import PATIENCE_S, Bed, numbered, until
from tests.replicator.conftest import Cloud

INVALID_PRODUCER_EPOCH = 47


class Guessing(BatchEngine):
    """What a link does that trusts its stored position: a producer of its own each life, no anchor."""

    async def anchor(self) -> int:
        way, ends = self.way, self._ends
        position = ends.journal.position(way.topic, way.partition) or await self._first_contact()
        self._pid = (await ends.target.init_producer_id()).id
        end = (await ends.target.offsets(way.target, "latest"))[way.partition]
        self._position = structs.replace(position, target_next=end)
        return position.source_next


async def test_without_the_anchor_records_are_doubled(bed: Bed) -> None:
    """The guard of this file: an engine that trusts its stored position doubles records, and the comparison sees it."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 50)
    await bed.ship_and_die()
    await bed.fill(topic, 20)
    task = asyncio.create_task(run_link(bed.settings(), asyncio.Event(), Guessing))
    await until(lambda: bed.holds(remote(bed.site, topic), 120), "all is shipped, some of it twice")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await bed.arrived(topic) == [*range(50), *range(70)]
    with pytest.raises(AssertionError, match="70 at the source, 120 at the target"):
        await bed.assert_same(topic)


async def test_a_life_that_ended_without_a_word_is_followed_exactly(bed: Bed) -> None:
    """Positions long out of date are counted on from, over markers and transactions, in several partitions."""
    topic = await bed.topic(partitions=2)
    producer = bed.transactional(f"txn-{bed.site}")
    for life in range(3):
        await bed.fill(topic, 30 + life, batch=7)
        producer.begin_transaction()
        producer.produce(topic, b"1 aborted", partition=1)
        producer.flush(10)
        producer.abort_transaction(10)
        await bed.ship_and_die()
        assert (await bed.position(topic)).count == 0
    await bed.assert_same(topic)


async def test_a_batch_that_was_shipped_in_part_is_cut(bed: Bed) -> None:
    """An anchor inside of a batch ships the rest of it only: engines may cut batches where they like."""
    topic = await bed.topic(partitions=1)
    await bed.write(topic, 0, encode([numbered(n) for n in range(10)], codec="lz4"))
    await bed.ship_and_die()
    target, pid = remote(bed.site, topic), await bed.producer()
    await bed.write(topic, 0, encode([numbered(n) for n in range(10, 30)], codec="lz4"))
    part = encode([numbered(n) for n in range(10, 15)], producer_id=pid, epoch=0, sequence=10)
    assert (await bed.target.produce([(target, 0, part)]))[0].error == 0
    await bed.ship()
    await bed.assert_same(topic)


@pytest.fixture
async def forgetful(cloud: Cloud) -> AsyncIterator[None]:
    """The target forgets producers at once."""
    admin = AdminClient({"bootstrap.servers": cloud.plain.brokers})

    def alter(operation: AlterConfigOpType) -> None:
        entry = ConfigEntry("producer.id.expiration.ms", "50", incremental_operation=operation)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        for future in admin.incremental_alter_configs([resource]).values():
            future.result(10)

    alter(AlterConfigOpType.SET)
    yield
    alter(AlterConfigOpType.DELETE)


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("emptied", [False, True])
async def test_a_producer_that_the_target_forgot_is_found_in_its_log(bed: Bed, emptied: bool) -> None:
    """After a long time away the last batch tells, or where the log ends if its retention has deleted everything."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 40)
    await bed.ship_and_die()
    await until(lambda: _forgotten(bed, target), "the target has forgotten the producer")
    if emptied:
        await bed.trim(bed.target, target, 0, 40)
    await bed.fill(topic, 10)
    await bed.ship(position_interval_s=600.0)
    assert await bed.arrived(topic) == list(range(40 if emptied else 0, 50))
    assert (await bed.position(topic)).count == 50


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("running", [False, True])
async def test_repeats_that_a_forgetful_target_takes_are_named(bed: Bed, running: bool) -> None:
    """A late batch that the broker takes again, having forgotten its producer, is recorded; nothing else is doubled."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 40)

    async def late() -> None:
        await until(lambda: _forgotten(bed, target), "the target has forgotten the producer")
        batch = restamp((await bed.batches(bed.source, topic, 0))[2], producer_id=pid, epoch=0, sequence=20)
        assert (await bed.target.produce([(target, 0, batch)]))[0].error == 0

    if running:
        async with bed.link(bed.settings()) as task:
            await bed.shipped(task)
            pid = await bed.producer()
            await late()
            await bed.fill(topic, 10)
            await until(lambda: _last_is(bed, topic, 49), "the new records are shipped")
    else:
        await bed.ship_and_die()
        pid = await bed.producer()
        await late()
        await bed.fill(topic, 10)
        async with bed.link(bed.settings()):
            await until(lambda: _last_is(bed, topic, 49), "the new records are shipped")
    assert await bed.arrived(topic) == [*range(40), *range(20, 30), *range(40, 50)]
    assert [(g.cause, g.first, g.end, g.resumed_at) for g in await bed.gaps()] == [(DOUBLED, 40, 50, 40)]


async def _forgotten(bed: Bed, target: str) -> bool:
    return not (await bed.target.describe_producers(target, [0]))[0]


async def test_deleted_records_that_were_not_shipped_are_a_gap(bed: Bed) -> None:
    """Retention that ate unshipped records is recorded with its offsets; what is left follows, in a new era."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 30)
    await bed.trim(bed.source, topic, 0, 35)
    async with bed.link(bed.settings()) as task:
        await until(lambda: bed.holds(remote(bed.site, topic), 35), "what is left is shipped")
        assert not task.done()
        await bed.fill(topic, 5)
        await until(lambda: bed.holds(remote(bed.site, topic), 40), "new records follow")
        await until(lambda: _ends_at(bed, topic, 1, 55), "those of the other partition too")
    assert await bed.arrived(topic) == [*range(20), *range(35, 55)]
    assert await bed.arrived(topic, 1) == list(range(55))
    gaps = await bed.gaps()
    assert [(g.partition, g.cause, g.first, g.end, g.resumed_at, g.era) for g in gaps] == [
        (0, RETENTION, 20, 35, 35, 1)
    ]
    await bed.fill(topic, 5)
    await bed.ship_and_die()
    await bed.ship()
    assert await bed.arrived(topic) == [*range(20), *range(35, 60)]


async def test_a_gap_while_the_link_runs_is_noticed_at_the_next_fetch(bed: Bed) -> None:
    """Records deleted in front of a slow link are a gap; what it held already is shipped."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 100, size=500)
    go_on = asyncio.Event()

    class Slow(BatchEngine):
        """Ships when it may."""

        async def ship(self, fetched: Fetched) -> None:
            await go_on.wait()
            await super().ship(fetched)

    small = {"fetch_bytes": 8192, "partition_fetch_bytes": 8192, "backlog_bytes": 8192}
    task = asyncio.create_task(run_link(bed.settings(**small), asyncio.Event(), Slow))
    await until(lambda: bed.holds(remote(bed.site, topic), 0), "the target is made")
    await asyncio.sleep(0.5)  # a fetch
    await bed.trim(bed.source, topic, 0, 95)
    go_on.set()
    await until(lambda: _last_is(bed, topic, 99), "what is left is shipped")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    arrived = await bed.arrived(topic)
    (gap,) = await bed.gaps()
    assert arrived == [*range(gap.first), *range(95, 100)]
    assert 0 < gap.first < gap.end == 95


async def _last_is(bed: Bed, topic: str, number: int) -> bool:
    return (await bed.arrived(topic))[-1:] == [number]


async def test_a_link_that_halts_at_gaps_writes_nothing_behind_them(bed: Bed) -> None:
    """With on_gap = halt the partition stands still and others go on; when none can, the link ends with exit code 8."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 30)
    await bed.trim(bed.source, topic, 0, 35)
    async with bed.link(bed.settings(on_gap="halt")) as task:
        await until(lambda: _ends_at(bed, topic, 1, 50), "the other partition is shipped")
        assert not task.done()
    assert len(await bed.arrived(topic)) == 20
    await bed.trim(bed.source, topic, 1, 50)
    await bed.fill(topic, 1)
    await bed.trim(bed.source, topic, 1, 51)
    with pytest.raises(DataMissing, match="offsets 20 to 34 were deleted before they were shipped") as raised:
        await asyncio.wait_for(run_link(bed.settings(on_gap="halt"), asyncio.Event()), PATIENCE_S)
    assert raised.value.exit_code == 8
    assert not await bed.gaps()


async def _ends_at(bed: Bed, topic: str, partition: int, end: int) -> bool:
    return (await bed.target.offsets(remote(bed.site, topic), "latest"))[partition] == end


async def test_deleted_records_that_were_shipped_are_no_gap(bed: Bed) -> None:
    """Retention that passed a stale position, but not what was shipped, costs nothing: the target tells."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 50)
    await bed.ship_and_die()
    await bed.trim(bed.source, topic, 0, 33)
    await bed.fill(topic, 10)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 60), "the new records are shipped")
    assert await bed.arrived(topic) == list(range(60))
    assert not await bed.gaps()


async def test_the_gap_behind_a_stale_position_is_exact(bed: Bed) -> None:
    """With position and shipped records both deleted, nothing is doubled and the gap begins behind what was shipped."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 50)
    await bed.ship_and_die()
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 60)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 60), "what is left is shipped")
    assert await bed.arrived(topic) == [*range(50), *range(60, 70)]
    assert [(g.cause, g.first, g.end) for g in await bed.gaps()] == [(RETENTION, 50, 60)]


@pytest.mark.parametrize("fresh", [5, 80])
async def test_a_source_topic_made_anew_is_shipped_whole(bed: Bed, fresh: int) -> None:
    """Another log under the same name, shorter or longer than the old one, is noticed and shipped from its start."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    await bed.ship()
    await bed.delete(bed.source, topic)
    await bed.topic(partitions=1)
    await bed.write(topic, 0, *(encode([numbered(1000 + n)]) for n in range(fresh)))
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 30 + fresh), "the new log is shipped")
    assert await bed.arrived(topic) == [*range(30), *range(1000, 1000 + fresh)]
    assert [(g.cause, g.first, g.end, g.resumed_at) for g in await bed.gaps()] == [(DIVERGED, 0, 30, 0)]


@pytest.mark.parametrize("fresh", [4, 60])
@pytest.mark.parametrize("stale", [False, True])
async def test_a_source_that_lost_its_end_goes_on_where_the_logs_part(bed: Bed, fresh: int, stale: bool) -> None:
    """A power cut takes the source's last records, others take their offsets: nothing is doubled, nothing lost."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30, batch=5)
    await (bed.ship_and_die() if stale else bed.ship())
    await bed.delete(bed.source, topic)
    await bed.topic(partitions=1)
    await bed.fill(topic, 20, batch=5)
    await bed.write(topic, 0, *(encode([numbered(1000 + n)]) for n in range(fresh)))
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 30 + fresh), "the new records are shipped")
    assert await bed.arrived(topic) == [*range(30), *range(1000, 1000 + fresh)]
    assert [(g.cause, g.resumed_at) for g in await bed.gaps()] == [(DIVERGED, 20)]


async def test_a_target_that_lost_records_gets_them_again(bed: Bed) -> None:
    """A target topic that was deleted is filled again from the source, from the first record of the era."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 30)
    await bed.ship()
    await bed.delete(bed.target, remote(bed.site, topic))
    await bed.fill(topic, 3)
    await bed.ship()
    await bed.assert_same(topic)


async def test_batches_of_a_former_era_are_refused(bed: Bed) -> None:
    """What was under way before a gap cannot land behind it: its epoch is over, even where the sequence would fit."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 10)
    await bed.ship()
    late = (await bed.batches(bed.source, topic, 0))[0]
    await bed.fill(topic, 10)
    await bed.trim(bed.source, topic, 0, 15)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 15), "the new era has begun")
    batch = restamp(late, producer_id=await bed.producer(), epoch=0, sequence=10)
    assert (await bed.target.produce([(target, 0, batch)]))[0].error == INVALID_PRODUCER_EPOCH
    assert len(await bed.arrived(topic)) == 15


async def test_a_late_batch_before_the_first_of_an_era_moves_its_beginning(bed: Bed) -> None:
    """A batch from before the gap that lands after the anchor shifts the new era; the next life counts right."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 10)
    await bed.ship()
    pid = await bed.producer()
    await bed.fill(topic, 10)
    await bed.trim(bed.source, topic, 0, 15)

    class Late(BatchEngine):
        """Lets a batch of the former era land between its anchor and its first write."""

        async def ship(self, fetched: Fetched) -> None:
            late = encode([numbered(n) for n in range(10, 13)], producer_id=pid, epoch=0, sequence=10)
            await self._ends.target.produce([(target, 0, late)])
            await super().ship(fetched)

    task = asyncio.create_task(run_link(bed.settings(position_interval_s=600.0), asyncio.Event(), Late))
    await until(lambda: bed.holds(target, 18), "the era has begun behind the late batch")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bed.fill(topic, 5)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 23), "the next life goes on")
    assert await bed.arrived(topic) == [*range(13), *range(15, 25)]
