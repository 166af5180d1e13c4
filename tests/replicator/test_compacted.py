"""Compacted topics go record by record: over another topic of the same name, limits, and a change of policy."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import pytest
from msgspec import structs

from headwater.contract import headers
from headwater.contract.errors import Fenced
from headwater.contract.topics import gaps, manifest, positions, remote
from headwater.transport.kafka_batch import Out, Record, encode
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.retry import retrying
from replicator.journal import Journal
from replicator.position import FIRST_ERA, RECREATED, RETENTION, Position
from replicator.running import run_link
from replicator.way import Way
from tests.brokers import Relayed
from tests.replicator.bed import Bed, now_ms, numbered, until
from tests.replicator.silence import configure, notices, reason, standing

COMPACT = {"cleanup_policy": "compact"}


def source_offsets(found: list[Record]) -> list[int | None]:
    """What the records of a target say of themselves."""
    return [headers.find_number(record.headers, headers.SOURCE_OFFSET) for record in found]


async def test_a_compacted_topic_made_again_is_shipped_whole_though_it_has_grown(bed: Bed) -> None:
    """Its id tells, where its length does not: nothing before the old position is left out."""
    topic = await bed.topic("status", partitions=2, **COMPACT)
    await bed.fill(topic, 10)
    await bed.ship()
    await bed.delete(bed.source, topic)
    await bed.topic("status", partitions=2, **COMPACT)
    await bed.fill(topic, 25)
    async with bed.link(bed.settings()):
        for partition in range(2):
            await until(partial(_has, bed, topic, partition, 35), "the new topic is shipped")
    for partition in range(2):
        found = await bed.data(bed.target, remote(bed.site, topic), partition)
        assert source_offsets(found) == [*range(10), *range(25)]
    said = [(gap.partition, gap.cause, gap.first, gap.end, gap.resumed_at) for gap in await bed.gaps()]
    assert said == [(0, RECREATED, 0, 10, 0), (1, RECREATED, 0, 10, 0)]
    await bed.fill(topic, 2)
    await bed.ship_and_die_at(topic, 0, (await bed.target.offsets(remote(bed.site, topic), "latest"))[0] + 3)
    async with bed.link(bed.settings()):
        await until(lambda: _has(bed, topic, 1, 37), "the next life finds its place")
    assert await bed.arrived(topic) == [*range(10), *range(27)]


async def _has(bed: Bed, topic: str, partition: int, count: int) -> bool:
    if not await bed.holds(remote(bed.site, topic), 0, more=True):  # not made yet
        return False
    return len(await bed.data(bed.target, remote(bed.site, topic), partition)) == count


async def test_what_a_restored_target_has_lost_comes_again(bed: Bed) -> None:
    """Its disk is from an earlier moment than the stored position: what was acknowledged since is shipped again."""
    topic = await bed.topic("status", partitions=2, **COMPACT)
    await bed.fill(topic, 10)
    await bed.ship()
    await bed.fill(topic, 7)
    journal = await Journal.open(bed.target, bed.site)
    for partition in range(2):
        stored = await bed.position(topic, partition)
        ahead = structs.replace(stored, source_next=17, target_next=stored.target_next + 7)
        await journal.store([(Way(bed.site, topic, partition), ahead)])
    await journal.close()
    async with bed.link(bed.settings()):
        for partition in range(2):
            await until(partial(_has, bed, topic, partition, 17), "what was lost is shipped again")
    for partition in range(2):
        assert source_offsets(await bed.data(bed.target, remote(bed.site, topic), partition)) == [*range(17)]


async def test_a_target_that_is_back_at_what_another_program_copied_gets_the_rest_again(bed: Bed) -> None:
    """Its last record names no source offset: what this link had shipped behind it is gone, and comes again."""
    topic = await bed.topic("status", partitions=1, **COMPACT)
    target = remote(bed.site, topic)
    await bed.fill(topic, 20)
    await bed.make(bed.target, target, 1, **COMPACT)
    assert (await bed.target.produce([(target, 0, encode([numbered(n) for n in range(10)]))]))[0].error == 0
    for spec in (positions(bed.site), gaps(bed.site), manifest(bed.site, -1)):
        await create_topic(bed.target, spec)
    journal = await retrying("opening the positions", partial(Journal.open, bed.target, bed.site))
    ahead = Position(FIRST_ERA, 10, 15, 0, 16)
    await journal.store([(Way(bed.site, topic, 0), ahead)])
    await journal.close()
    async with bed.link(bed.settings()):
        await until(partial(_has, bed, topic, 0, 20), "the rest is shipped")
    assert source_offsets(await bed.data(bed.target, target, 0)) == [*[None] * 10, *range(10, 20)]


async def test_retention_before_a_compacted_topic_is_read_is_a_gap(bed: Bed) -> None:
    """`compact,delete` deletes the beginning of a log, too."""
    topic = await bed.topic("status", partitions=1, cleanup_policy="compact,delete")
    await bed.fill(topic, 10)
    await bed.ship()
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 24)
    async with bed.link(bed.settings()):
        await until(lambda: _has(bed, topic, 0, 16), "what is left is shipped")
    assert [(gap.cause, gap.first, gap.end) for gap in await bed.gaps()] == [(RETENTION, 10, 24)]


async def test_what_a_compacted_target_does_not_take_is_named(bed: Bed) -> None:
    """Too large, too far ahead in time: what stands for them has another key, so that the last good state stays."""
    topic = await bed.topic("status", partitions=1, message_timestamp_after_max_ms=str(1 << 60), **COMPACT)
    target = remote(bed.site, topic)
    await bed.make(bed.target, target, 1, max_message_bytes="3000", message_timestamp_after_max_ms="3600000", **COMPACT)
    now = now_ms()
    noise = random.Random(7).randbytes(40_000)
    outs = [Out(b"a", b"1 good", (), now), Out(b"a", b"2 " + noise, (), now), Out(b"b", b"3 ahead", (), now + 10**9)]
    outs += [Out(b"c%d" % n, b"%d " % n + noise[n * 500 : n * 500 + 500], (), now) for n in range(4, 14)]
    bed.produce(topic, outs, linger_ms="200")
    async with bed.link(bed.settings()):
        await until(lambda: _has(bed, topic, 0, 13), "all has arrived in some shape")
    found = await bed.data(bed.target, target, 0)
    assert source_offsets(found) == list(range(13))
    assert [reason(record) for record in found[:4]] == [None, "too-large", "timestamp", None]
    assert (found[1].key, found[1].value) == (f"{topic}/0/1".encode(), None)
    assert (found[2].key, found[2].value) == (b"b", b"3 ahead")
    assert [(each.cause, each.first) for each in await notices(bed)] == [("too-large", 1), ("timestamp", 2)]
    assert max(len(batch.raw) for batch in await bed.batches(bed.target, target, 0)) <= 3000


async def test_a_record_of_two_megabytes_is_shipped_where_the_target_takes_it(bed: Bed) -> None:
    """The bound is the target's, not a client's."""
    topic = await bed.topic("status", partitions=1, max_message_bytes="4000000", **COMPACT)
    big = random.Random(7).randbytes(2_000_000)
    bed.produce(topic, [Out(b"a", big, (), now_ms())], message_max_bytes="4000000")
    async with bed.link(bed.settings()):
        await until(lambda: _has(bed, topic, 0, 1), "it has arrived")
    assert (await bed.data(bed.target, remote(bed.site, topic), 0))[0].value == big


async def test_a_limit_of_a_compacted_target_that_is_lowered_is_learnt(bed: Bed) -> None:
    """The writer that was refused is followed by one that knows better."""
    topic = await bed.topic("status", partitions=1, **COMPACT)
    async with bed.link(bed.settings()) as task:
        await bed.fill(topic, 5)
        await until(lambda: _has(bed, topic, 0, 5), "the first records are shipped")
        configure(bed.target, remote(bed.site, topic), max_message_bytes="1500")
        await bed.fill(topic, 40, size=400, batch=20)
        await until(lambda: _has(bed, topic, 0, 45), "the others follow")
        assert not task.done()
    assert await bed.arrived(topic) == list(range(45))


async def test_a_target_that_is_compacted_later_goes_on_record_by_record(bed: Bed) -> None:
    """The change of engines costs nothing, also where the stored position was behind."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    await bed.ship_and_die()
    configure(bed.target, remote(bed.site, topic), cleanup_policy="compact", max_compaction_lag_ms=str(1 << 60))
    await bed.fill(topic, 10)
    async with bed.link(bed.settings()):
        await until(lambda: _has(bed, topic, 0, 30), "the new records are shipped")
        await until(lambda: _carried_by(bed, topic, "record"), "the engine is told")
    assert await bed.arrived(topic) == list(range(30))
    found = await bed.data(bed.target, remote(bed.site, topic), 0)
    assert source_offsets(found) == [None] * 20 + list(range(20, 30))
    assert not await bed.gaps()


async def _carried_by(bed: Bed, topic: str, engine: str) -> bool:
    found = await standing(bed, topic)
    return found is not None and found.engine == engine


async def test_many_small_batches_cross_a_long_road_together(bed: Bed, cloud: Relayed) -> None:
    """Records that are at hand leave in one write: with 200 ms of round trip, 200 of them do not take 40 seconds."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact")
    await bed.fill(topic, 200, batch=1)
    async with cloud.proxy() as road:
        road.delay_s = 0.1
        settings = bed.settings(topic).model_copy(update={"target": cloud.relayed})
        began = time.monotonic()
        async with bed.link(settings):
            await until(lambda: bed.holds(remote(bed.site, topic), 200, more=True), "all is shipped")
        took_s = time.monotonic() - began
    assert await bed.arrived(topic) == list(range(200))
    assert took_s < 15


async def test_what_another_life_ships_while_this_one_begins_is_shipped_once(bed: Bed, cloud: Relayed) -> None:
    """Its last record may be behind where the source ended when this life began to look; the source lost nothing."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact")
    await bed.fill(topic, 10)
    former = asyncio.create_task(run_link(bed.settings(position_interval_s=600.0), asyncio.Event()))
    await bed.shipped(former)
    async with cloud.proxy() as road:
        road.delay_s = 0.04
        async with bed.link(bed.settings(topic).model_copy(update={"target": cloud.relayed})) as task:
            while not former.done():  # until this life shuts it out
                assert not task.done()
                await bed.fill(topic, 1)
                await asyncio.sleep(0.02)
            await bed.shipped(task)
    with pytest.raises(Fenced):
        former.result()
    found = await bed.data(bed.target, remote(bed.site, topic), 0)
    assert source_offsets(found) == list(range(len(found)))
    assert not await bed.gaps()
