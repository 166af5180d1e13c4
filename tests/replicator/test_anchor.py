"""Where a link goes on after its last life ended without a word, or after the logs changed behind its back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from msgspec import structs

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import encode, restamp
from headwater.transport.kafka_batch.connection import Connection
from replicator.anchor import Lost
from replicator.batch_engine import BatchEngine
from replicator.position import DOUBLED, RECREATED, Position
from replicator.running import run_link
from tests.brokers import Relayed
from tests.replicator.bed import Bed, numbered, until

INVALID_PRODUCER_EPOCH = 47


class Guessing(BatchEngine):
    """What a link does that trusts its stored position: a producer of its own each life, no anchor."""

    async def anchor(self) -> int:
        way, ends = self.way, self._ends
        position = ends.journal.position(way.topic, way.partition) or await self._first_contact()
        self._pid = (await ends.target.init_producer_id()).id
        end = (await ends.target.offsets(way.target, "latest"))[way.partition]
        outbox = await ends.target.reach(way.target, way.partition, ends.lines.purpose(way))
        return self._begin(structs.replace(position, target_next=end), outbox)


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
async def forgetful(cloud: Relayed) -> AsyncIterator[None]:
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
            await until(lambda: bed.last_is(topic, 49), "the new records are shipped")
    else:
        await bed.ship_and_die()
        pid = await bed.producer()
        await late()
        await bed.fill(topic, 10)
        async with bed.link(bed.settings()):
            await until(lambda: bed.last_is(topic, 49), "the new records are shipped")
    assert await bed.arrived(topic) == [*range(40), *range(20, 30), *range(40, 50)]
    (gap,) = await bed.gaps()
    assert (gap.cause, gap.first, gap.end) == (DOUBLED, 40, 50)
    assert gap.resumed_at in {40, 50}  # 50 where it has forgotten the producer again, and took the new ones too


async def _forgotten(bed: Bed, target: str) -> bool:
    return not (await bed.target.describe_producers(target, [0]))[0]


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
    assert [(g.cause, g.first, g.end, g.resumed_at) for g in await bed.gaps()] == [(RECREATED, 0, 30, 0)]


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
    assert [(g.cause, g.resumed_at) for g in await bed.gaps()] == [(RECREATED, 20)]


async def test_a_target_that_lost_records_gets_them_again(bed: Bed) -> None:
    """A target topic that was deleted is filled again from the source, from the first record of the era."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 30)
    await bed.ship()
    await bed.delete(bed.target, remote(bed.site, topic))
    await bed.fill(topic, 3)
    await bed.ship()
    await bed.assert_same(topic)


async def test_a_target_that_was_emptied_and_filled_again_by_a_killed_life_is_understood(bed: Bed) -> None:
    """The stored position is of the former log, which was longer: the era is all there, at other offsets."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 30)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 30), "a new era is shipped")
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    again = encode([numbered(n) for n in range(30, 40)], producer_id=await bed.producer(), epoch=1, sequence=0)
    assert (await bed.target.produce([(target, 0, again)]))[0].error == 0
    await bed.fill(topic, 10)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 20), "it goes on")
    assert await bed.arrived(topic) == [*range(30, 50)]
    assert len(await bed.gaps()) == 1
    await bed.fill(topic, 5)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 25), "another life goes on")


async def test_what_lands_in_an_emptied_target_is_named_and_all_is_shipped_again(bed: Bed) -> None:
    """A batch that was under way while the target lost its log: its number says more than the log has, for good."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 40)
    await bed.ship()
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    await bed.fill(topic, 10)
    late = (await bed.batches(bed.source, topic, 0))[-1]
    batch = restamp(late, producer_id=await bed.producer(), epoch=0, sequence=40)
    assert (await bed.target.produce([(target, 0, batch)]))[0].error == 0
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 60), "all is shipped again")
    assert await bed.arrived(topic) == [*range(40, 50), *range(50)]
    assert [(gap.cause, gap.first, gap.end) for gap in await bed.gaps()] == [(DOUBLED, 0, 10)]


@pytest.mark.usefixtures("forgetful")
async def test_what_lands_behind_the_cut_end_of_a_target_is_found(bed: Bed) -> None:
    """A target that lost its end, and had forgotten the producer, took what was under way: a hole, found by halves."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 60)
    await bed.ship()
    pid = await bed.producer()
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    batches = await bed.batches(bed.source, topic, 0)
    for number in (0, 1, 2, 5):
        if number == 5:
            await until(lambda: _forgotten(bed, target), "the target has forgotten the producer")
        batch = restamp(batches[number], producer_id=pid, epoch=0, sequence=10 * number)
        assert (await bed.target.produce([(target, 0, batch)]))[0].error == 0
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 70), "what the hole lacked is shipped")
    assert await bed.arrived(topic) == [*range(30), *range(50, 60), *range(30, 60)]
    assert [(gap.cause, gap.first, gap.end) for gap in await bed.gaps()] == [(DOUBLED, 30, 40)]


async def test_a_connection_that_ends_while_a_place_is_looked_for_makes_it_look_again(bed: Bed, cloud: Relayed) -> None:
    """Behind it may be a disk from earlier, which would take what comes at the wrong place."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 5)
    looked = 0

    async with cloud.proxy() as road:

        class Unlucky(BatchEngine):
            """Its first place was found before the road broke."""

            async def _set_aside(self, position: Position) -> Lost | None:
                nonlocal looked
                looked += 1
                if looked == 1:
                    line = (await self._ends.target.reach(self.way.target, 0)).connection
                    road.cut()
                    await until(partial(_is_over, line), "the connection has ended")
                return await super()._set_aside(position)

        settings = bed.settings().model_copy(update={"target": cloud.relayed})
        task = asyncio.create_task(run_link(settings, asyncio.Event(), Unlucky))
        await bed.shipped(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert looked == 2
    assert await bed.arrived(topic) == list(range(5))


async def _is_over(connection: Connection) -> bool:
    return not connection.ready
