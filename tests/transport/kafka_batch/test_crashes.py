"""Each record once: over killed writers, cut and stalled connections, and a broker that dies."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from headwater.contract.errors import Transient
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Writer
from headwater.transport.retry import retrying
from tests.proxy import Proxy
from tests.services import Broker
from tests.transport.kafka_batch.campaign import PARTITIONS, Count, Source, count, life_of, until
from tests.transport.kafka_batch.conftest import Doors, make_topic, now_ms

CAMPAIGNS = 6


async def kill_loop(doors: Doors, proxy: Proxy, topic: str, kills: int, fenced: bool, seed: int) -> Source:
    """Kill the writing process again and again; half of the time its last bytes are held on the road for a while."""
    dice = random.Random(seed)
    source = Source()
    held: list[asyncio.Task[None]] = []

    async def release(after_s: float) -> None:
        await asyncio.sleep(after_s)
        proxy.resume()

    for life in range(kills + 1):
        async with (
            asyncio.timeout(30),
            life_of(doors.relayed.brokers, topic, fenced=fenced) as process,
            source.session(process),
        ):
            if life == kills:
                await until(lambda: not source.unacked)
                break
            acked = source.sent - len(source.unacked)
            await source.feed(process, dice.uniform(0.0, 0.6))
            if dice.random() < 0.7:  # the others die while they fence or read their tails, mostly
                while source.sent - len(source.unacked) < acked + 400:
                    await source.feed(process, 0.02)
            if dice.random() < 0.5:
                proxy.stall()
                await source.feed(process, 0.05)
                held.append(asyncio.create_task(release(dice.uniform(0.5, 1.5))))
    await asyncio.gather(*held)
    return source


@pytest.mark.slow
async def test_killing_the_writer_loses_and_doubles_nothing(doors: Doors, unique: str) -> None:
    """Ten lives are killed at random instants; the eleventh finishes, and every number is there once, in order."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    async with Cluster(doors.plain, client_id="reader") as cluster:
        await make_topic(cluster, unique, PARTITIONS)
        async with doors.proxy() as proxy:
            source = await kill_loop(doors, proxy, unique, 10, True, seed)
        print("sent", source.sent, "redelivered", source.redelivered)
        assert source.redelivered > 0
        assert await count(cluster, unique, source.sent) == Count(source.sent, 0, 0, 0)


@pytest.mark.slow
async def test_without_the_fence_the_same_kills_show_duplicates(doors: Doors, unique: str) -> None:
    """The campaign can fail: lives that do not share a name write what their successors write again."""
    async with Cluster(doors.plain, client_id="reader") as cluster:
        for seed in range(CAMPAIGNS):  # on a busy machine a life may write so late that its bytes double nothing
            topic = await make_topic(cluster, f"{unique}-{seed}", PARTITIONS)
            async with doors.proxy() as proxy:
                source = await kill_loop(doors, proxy, topic, 5, False, seed)
            found = await count(cluster, topic, source.sent)
            assert found.lost == 0
            if found.duplicated:
                return
    pytest.fail(f"{CAMPAIGNS} campaigns without a fence doubled nothing")


async def write_numbers(writer: Writer, topic: str, stop: asyncio.Event, most: int = 1 << 30) -> int:
    """Keep up to twenty writes a partition under way until told to stop; returns how many numbers were written."""
    free = asyncio.Semaphore(20 * PARTITIONS)
    first = 0

    async def one(partition: int, numbers: range) -> None:
        try:
            await writer.write(topic, partition, [Out(None, b"%d" % n, (), now_ms()) for n in numbers])
        finally:
            free.release()

    async with asyncio.TaskGroup() as group:
        while not stop.is_set() and first < most:
            for partition in range(PARTITIONS):
                await free.acquire()
                group.create_task(one(partition, range(first + partition, first + 10 * PARTITIONS, PARTITIONS)))
            first += 10 * PARTITIONS
    return first


async def test_a_broker_killed_in_the_middle_of_writing_loses_and_doubles_nothing(
    private_kafka: Broker, unique: str
) -> None:
    """Writes go on when the broker is back, in their order, and nobody has to ask for it."""
    settings = KafkaSettings(brokers=private_kafka.bootstrap, request_timeout_s=5)
    async with Cluster(settings, client_id="w") as cluster:
        await make_topic(cluster, unique, PARTITIONS)
        async with await Writer.open(cluster, "w", {unique: range(PARTITIONS)}) as writer:
            stop = asyncio.Event()
            writing = asyncio.create_task(write_numbers(writer, unique, stop))
            await until_written(cluster, unique, 1000)
            await asyncio.to_thread(private_kafka.kill)
            await asyncio.to_thread(private_kafka.start)
            ends = await retrying("back", lambda: cluster.offsets(unique, "latest"), deadline_s=30)
            await until_written(cluster, unique, sum(ends.values()) + 1000)
            stop.set()
            async with asyncio.timeout(30):
                sent = await writing
            assert await count(cluster, unique, sent) == Count(sent, 0, 0, 0)


async def until_written(cluster: Cluster, topic: str, more: int) -> None:
    """Wait until the partitions together end at `more`."""
    async with asyncio.timeout(30):
        while True:
            try:
                if sum((await cluster.offsets(topic, "latest")).values()) >= more:
                    return
            except Transient:
                pass
            await asyncio.sleep(0.02)


async def test_connections_cut_in_the_middle_of_requests_lose_and_double_nothing(doors: Doors, unique: str) -> None:
    """Requests break off at random bytes, answers are lost, connections stall: batches are sent again, not twice."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    async with (
        Cluster(doors.plain, client_id="reader") as reader,
        doors.proxy() as proxy,
    ):
        await make_topic(reader, unique, PARTITIONS)
        settings = doors.relayed.model_copy(update={"request_timeout_s": 1.0})
        async with (
            Cluster(settings, client_id="w") as cluster,
            await Writer.open(cluster, f"w-{unique}", {unique: range(PARTITIONS)}) as writer,
        ):
            stop = asyncio.Event()
            writing = asyncio.create_task(write_numbers(writer, unique, stop))
            for _ in range(12):
                made = proxy.connections
                proxy.cut_after(dice.randrange(1, 20_000))
                await until(partial(more_connections, proxy, made))
            made = proxy.connections

            def given_up() -> bool:
                """Stall whatever is connected, until a further connection is made."""
                if proxy.connections == made:
                    proxy.stall()
                return proxy.connections > made

            await until(given_up)  # an answer that never came: after request_timeout_s it is sent again
            written = sum((await reader.offsets(unique, "latest")).values())
            await until_written(reader, unique, written + 500)
            stop.set()
            async with asyncio.timeout(30):
                sent = await writing
        assert await count(reader, unique, sent) == Count(sent, 0, 0, 0)


def more_connections(proxy: Proxy, than: int) -> bool:
    """Whether somebody has connected since."""
    return proxy.connections > than
