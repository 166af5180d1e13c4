"""The writer in peace: order, batches, bounds, and how a life ends."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import AdminClient

from headwater.contract.errors import BadInput, DataMissing, HeadwaterError, Unreachable
from headwater.transport.kafka_batch import Cluster, Out, Writer, batches, encode, read_range, read_records
from headwater.transport.kafka_batch.lane import Lane
from headwater.transport.retry import retrying
from tests.transport.kafka_batch.conftest import make_topic, now_ms


def outs(first: int, count: int, size: int = 0) -> list[Out]:
    return [Out(b"k", b"%d" % (first + i) + b" " * size, (), now_ms()) for i in range(count)]


async def written(cluster: Cluster, topic: str, partition: int = 0) -> list[int]:
    end = (await cluster.offsets(topic, "latest"))[partition]
    return [int(r.value or b"") async for found in read_records(cluster, topic, partition, 0, end) for r in found]


async def test_writes_keep_the_order_in_which_they_began(cluster: Cluster, topic: str) -> None:
    """Hundreds of writes under way at once land in call order in each partition, and each learns its offset."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: range(4)}) as writer:
        tasks = [
            asyncio.create_task(writer.write(topic, index % 4, outs(index, 1 + index % 3))) for index in range(400)
        ]
        offsets = await asyncio.gather(*tasks)
    for partition in range(4):
        wanted = [n for index in range(partition, 400, 4) for n in range(index, index + 1 + index % 3)]
        assert await written(cluster, topic, partition) == wanted
        mine = offsets[partition::4]
        assert mine[0] == 1  # behind the marker
        assert mine == sorted(mine)


async def test_what_is_written_together_shares_requests_not_batches(cluster: Cluster, topic: str) -> None:
    """One write is one batch, in the codec that was asked for."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: range(4)}, codec="zstd") as writer:
        await asyncio.gather(*(writer.write(topic, p, outs(0, 50, 100)) for p in range(4)))
    for partition in range(4):
        found = [b async for b in read_range(cluster, topic, partition, 0, 51)]
        assert [(b.codec, b.count, b.base_offset, b.base_sequence) for b in found] == [("zstd", 50, 1, 0)]


async def test_a_large_write_is_cut_into_batches_that_a_broker_takes(cluster: Cluster, topic: str) -> None:
    """Above 900 KiB several batches are written in order; the first one's offset is returned."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}, codec="none") as writer:
        assert await writer.write(topic, 0, outs(0, 1)) == 1
        assert await writer.write(topic, 0, outs(1, 30, 100_000)) == 2
        with pytest.raises(BadInput, match="at most 921600"):
            await writer.write(topic, 0, [*outs(90, 1), *outs(91, 1, 1_000_000)])
        assert await writer.write(topic, 0, outs(31, 1)) == 32  # the writer is as before
    assert await written(cluster, topic) == list(range(32))
    sizes = [len(b.raw) async for b in read_range(cluster, topic, 0, 0, 33)]
    assert len(sizes) == 6
    assert max(sizes) <= 900 << 10


async def test_a_write_that_was_cancelled_leaves_no_hole(cluster: Cluster, topic: str) -> None:
    """Its records land in their place; those behind it are not held up."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as writer:
        tasks = [asyncio.create_task(writer.write(topic, 0, outs(i, 1))) for i in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes) == 7
        await writer.write(topic, 0, outs(20, 1))
    assert await written(cluster, topic) == list(range(21))


async def test_a_permanent_failure_ends_the_writer(cluster: Cluster, unique: str) -> None:
    """A batch that the broker refuses fails with the reason, and so does every later write to any partition."""
    await make_topic(cluster, unique, 2, max_message_bytes="1000")
    async with await Writer.open(cluster, f"w-{unique}", {unique: [0, 1]}, codec="none") as writer:
        await writer.write(unique, 0, outs(0, 1))
        outcomes = await asyncio.gather(
            writer.write(unique, 0, outs(1, 1, 2000)), writer.write(unique, 0, outs(2, 1)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {BadInput}
        with pytest.raises(BadInput, match="10 MESSAGE_TOO_LARGE") as caught:
            await writer.write(unique, 1, outs(3, 1))
        assert "max.message.bytes" in caught.value.hint
    assert await written(cluster, unique) == [0]
    assert await written(cluster, unique, 1) == []


async def test_sequences_that_do_not_fit_end_the_life(cluster: Cluster, topic: str) -> None:
    """When the leader's last sequence is not ours, the writer does not guess: the next life reads the tail."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as writer:
        pid, epoch = writer.producer
        foreign = encode(outs(0, 5), producer_id=pid, epoch=epoch, sequence=0)
        assert [p.error for p in await cluster.produce([(topic, 0, foreign)])] == [0]
        with pytest.raises(DataMissing, match="acknowledged records are gone"):
            await writer.write(topic, 0, outs(100, 3))
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}, tails={topic: 9}) as again:
        assert [r.value for r in again.tails[topic, 0]] == [b"%d" % i for i in range(5)]


async def test_a_topic_that_was_made_anew_ends_the_life(cluster: Cluster, topic: str) -> None:
    """A log that went back is noticed at the first write, although Kafka accepts it."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as writer:
        await writer.write(topic, 0, outs(0, 10))
        admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
        for future in admin.delete_topics([topic]).values():
            future.result(10)
        await retrying("again", lambda: make_topic(cluster, topic), deadline_s=10)
        with pytest.raises(DataMissing, match="what was acknowledged ends at 11"):
            async with asyncio.timeout(10):
                await writer.write(topic, 0, outs(10, 1))


async def test_a_log_that_went_back_behind_the_fence_gets_nothing(cluster: Cluster, topic: str) -> None:
    """Kafka takes the first batch of a life anywhere: what the tail has told holds no longer, so none is sent."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as before:
        await before.write(topic, 0, outs(0, 10))
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}, tails={topic: 1}) as writer:
        admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
        for future in admin.delete_topics([topic]).values():
            future.result(10)
        await retrying("again", lambda: make_topic(cluster, topic), deadline_s=10)
        with pytest.raises(DataMissing, match="the log ends at 0, what was acknowledged ends at 12"):
            await writer.write(topic, 0, outs(10, 1))
    assert await written(cluster, topic) == []


async def test_looking_while_records_are_written_sees_no_loss(cluster: Cluster, topic: str) -> None:
    """An answer that was overtaken by acknowledgements is no log that was set back."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as writer:
        for _ in range(60):
            works = [work for _ in range(5) for work in (writer.look(topic, 0), writer.write(topic, 0, outs(0, 1)))]
            await asyncio.gather(*works)


async def test_sequences_wrap(cluster: Cluster, topic: str) -> None:
    """Behind 2^31 - 1 sequences begin again at 0, also in the middle of a batch."""
    failures: list[HeadwaterError] = []
    # An id that the partition does not know may begin anywhere.
    lane = Lane(cluster, topic, 0, await cluster.init_producer_id(), "none", failures.append)
    lane._next_sequence = (1 << 31) - 4
    await asyncio.gather(*lane.push([outs(i * 3, 3) for i in range(8)]))
    assert failures == []
    assert await written(cluster, topic) == list(range(24))


async def test_closing_fails_what_waits(cluster: Cluster, topic: str) -> None:
    """A write that is not acknowledged when its writer is closed says so, and later ones too."""
    writer = await Writer.open(cluster, f"w-{topic}", {topic: [0]})
    waiting = asyncio.create_task(writer.write(topic, 0, outs(0, 1)))
    await asyncio.sleep(0)
    await writer.close()
    with pytest.raises(Unreachable, match="was closed"):
        await waiting
    with pytest.raises(Unreachable, match="was closed"):
        await writer.write(topic, 0, outs(1, 1))
    await writer.close()


async def test_a_partition_that_was_not_announced_is_refused(cluster: Cluster, topic: str) -> None:
    """Only partitions that were fenced may be written; nothing is not a write."""
    async with await Writer.open(cluster, f"w-{topic}", {topic: [0]}) as writer:
        with pytest.raises(BadInput, match="was not opened for"):
            await writer.write(topic, 1, outs(0, 1))
        with pytest.raises(BadInput, match="without records"):
            await writer.write(topic, 0, [])


async def test_batches_of_one_partition_in_one_call_become_several_requests(cluster: Cluster, topic: str) -> None:
    """The broker takes one batch a partition in a request; order and answers are kept all the same."""
    made = [(topic, p, encode(outs(i * 2, 2))) for i in range(6) for p in (0, 1)]
    answers = await cluster.produce(made)
    assert [(a.topic, a.partition, a.error, a.base_offset) for a in answers] == [
        (topic, p, 0, i * 2) for i in range(6) for p in (0, 1)
    ]
    (fetched,) = await cluster.fetch({(topic, 1): 0})
    assert [b.base_offset for b in batches(fetched.data)] == [0, 2, 4, 6, 8, 10]
    assert await written(cluster, topic) == list(range(12))
