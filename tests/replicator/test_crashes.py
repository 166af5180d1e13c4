"""Each record once: over SIGKILL at any instant, bytes that arrive after their sender's death, cuts and stalls."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator

import psutil
import pytest
import structlog

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Fetched, encode
from replicator.batch_engine import BatchEngine
from replicator.running import run_link
from tests.brokers import Relayed
from tests.proxy import Proxy
from tests.replicator.bed import Bed, numbered, replicator, until

SEED = 20_261_121
KILLS = 8
_COUNTS = ([1, 1, 2, 5, 40], [6, 6, 7, 10, 40])
MOST_MEMORY_MB = 48  # proportional; the interpreter and its libraries take 36 of it


@pytest.fixture
async def proxy(cloud: Relayed) -> AsyncIterator[Proxy]:
    """The road to the target."""
    async with cloud.proxy() as relay:
        yield relay


class Load:
    """Writes about 1,000 numbered records a second, in batches of every size, to two partitions until it is stopped.

    Those of partition 1 are too large to be merged.
    """

    def __init__(self, bed: Bed, topic: str, dice: random.Random) -> None:
        self._bed, self._topic, self._dice = bed, topic, dice
        self.sent = [0, 0]
        self._enough = False
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while not self._enough:
            await self.step()
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Write no more."""
        self._enough = True
        await self._task

    async def step(self) -> None:
        """Write one batch to each partition."""
        for partition in range(2):
            first, count = self.sent[partition], self._dice.choice(_COUNTS[partition])
            outs = [numbered(n, self._dice.randrange(400)) for n in range(first, first + count)]
            codec = self._dice.choice(["none", "lz4", "zstd"])
            await self._bed.write(self._topic, partition, encode(outs, codec=codec))
            self.sent[partition] += count


@pytest.mark.slow
async def test_records_arrive_once_over_kills_and_late_bytes(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """Eight kills under load, half of them with bytes on the road that arrive later: the same logs, to the byte."""
    topic = await bed.topic(partitions=2)
    settings = bed.settings(topic).model_copy(update={"target": cloud.relayed})
    dice = random.Random(SEED)
    print("seed", SEED)
    load = Load(bed, topic, random.Random(SEED + 1))  # draws as often as time allows, so from numbers of its own
    late: list[asyncio.Task[None]] = []
    shipped = []

    async def release(after_s: float) -> None:
        await asyncio.sleep(after_s)
        proxy.resume()

    try:
        for number in range(KILLS):
            async with replicator(bed, settings) as process:
                await until(lambda: _moved(bed, topic, shipped), "this life ships")
                await asyncio.sleep(dice.uniform(0.0, 0.4))
                if number % 2:
                    proxy.stall()
                    await asyncio.sleep(dice.uniform(0.0, 0.1))
                    late.append(asyncio.create_task(release(dice.uniform(0.0, 1.2))))
                process.send_signal(signal.SIGKILL)
                await process.wait()
                shipped.append(await _ends(bed, topic))
    finally:
        await load.stop()
        await asyncio.gather(*late)
    connections = proxy.connections
    async with replicator(bed, settings) as process:
        await until(lambda: _is(proxy.connections > connections), "the last life connects")
        await load.step()
        await bed.shipped()
        memory_mb = psutil.Process(process.pid).memory_full_info().pss / 2**20
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert len(late) == KILLS // 2
    assert min(load.sent) > 300
    await bed.assert_same(topic)
    await bed.assert_same_bytes(topic, 1)
    for partition in range(2):
        assert await bed.arrived(topic, partition) == list(range(load.sent[partition]))
        position = await bed.position(topic, partition)
        assert position.count == load.sent[partition]  # told to stop, it stored where it was
    assert not await bed.gaps()
    assert memory_mb < MOST_MEMORY_MB


async def _ends(bed: Bed, topic: str) -> int:
    return sum((await bed.target.offsets(remote(bed.site, topic), "latest")).values())


async def _moved(bed: Bed, topic: str, shipped: list[int]) -> bool:
    if not shipped:
        return await bed.holds(remote(bed.site, topic), 1, more=True)
    return await _ends(bed, topic) > shipped[-1]


async def test_bytes_of_a_dead_life_change_nothing(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """A batch that was under way when its sender died lands after its successor shipped it, and is not taken twice."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    held = bytearray()
    await bed.fill(topic, 10)
    async with replicator(bed, bed.settings(topic).model_copy(update={"target": cloud.relayed})) as process:
        await until(lambda: _heard(bed, topic, 10), "the first life ships, and hears that it did")
        proxy.stall()
        proxy.on_data_up = held.extend
        await bed.fill(topic, 6, batch=2)
        await asyncio.sleep(0.5)  # it writes into the stalled road
        process.kill()
        await process.wait()
    assert await bed.holds(target, 10)
    await bed.fill(topic, 4, batch=4)
    await bed.ship()
    assert await bed.arrived(topic) == list(range(20))
    proxy.resume()
    await until(lambda: _is(b"10 xxx" in held), "the dead life's bytes reach the broker")
    await bed.fill(topic, 5)
    await bed.ship()
    await bed.assert_same(topic)


async def _heard(bed: Bed, topic: str, count: int) -> bool:
    return await bed.holds(remote(bed.site, topic), count) and (await bed.position(topic)).count == count


async def _is(value: bool) -> bool:
    return value


async def test_bytes_of_a_dead_life_may_come_first(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """A batch of the dead life that lands between the anchor and the first write is known again, not taken twice."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 10)
    async with replicator(bed, bed.settings(topic).model_copy(update={"target": cloud.relayed})) as process:
        await until(lambda: _heard(bed, topic, 10), "the first life ships, and hears that it did")
        proxy.stall()
        await bed.fill(topic, 6, batch=2)
        await asyncio.sleep(0.5)  # it writes into the stalled road
        process.kill()
        await process.wait()

    class Waiting(BatchEngine):
        """Lets the late bytes land before its first write."""

        async def ship(self, fetched: Fetched) -> None:
            proxy.resume()
            await until(lambda: bed.holds(remote(bed.site, topic), 12, more=True), "the late batch lands")
            await super().ship(fetched)

    task = asyncio.create_task(run_link(bed.settings(), asyncio.Event(), Waiting))
    await bed.shipped(task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bed.assert_same(topic)


async def test_cuts_at_any_byte_lose_and_double_nothing(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """Connections that break off in the middle of requests and answers only cost time."""
    topic = await bed.topic(partitions=2)
    settings = bed.settings().model_copy(update={"target": cloud.relayed})
    dice = random.Random(SEED)
    load = Load(bed, topic, dice)
    async with bed.link(settings) as task:
        await until(lambda: bed.holds(remote(bed.site, topic), 1, more=True), "the link ships")
        for _ in range(12):
            proxy.cut_after(dice.randrange(4000))
            await asyncio.sleep(dice.uniform(0.05, 0.25))
        await load.stop()
        await bed.shipped(task)
    assert proxy.connections > 5  # cuts that fell on a live connection; a slow machine reconnects less often
    await bed.assert_same(topic)
    for partition in range(2):
        assert await bed.arrived(topic, partition) == list(range(load.sent[partition]))


async def test_a_black_hole_is_given_up_and_gone_around(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """A connection that takes bytes and answers nothing is given up after request_timeout_s."""
    topic = await bed.topic(partitions=1)
    relayed = cloud.relayed.model_copy(update={"request_timeout_s": 1.0})
    await bed.fill(topic, 5)
    async with bed.link(bed.settings().model_copy(update={"target": relayed})) as task:
        await bed.shipped(task)
        proxy.stall()
        await bed.fill(topic, 5)
        await bed.shipped(task)
    await bed.assert_same(topic)


async def test_services_that_are_away_are_waited_for(bed: Bed, cloud: Relayed) -> None:
    """A target that is away at the start is waited for with a clear line; one that goes away later loses nothing."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 5)
    with structlog.testing.capture_logs() as logs:
        async with bed.link(bed.settings(drain_s=0.5).model_copy(update={"target": cloud.relayed})) as task:
            await until(lambda: _is(any(entry["event"] == "waiting" for entry in logs)), "it says that it waits")
            for _ in range(2):
                async with cloud.proxy():
                    await bed.shipped(task)
                await bed.fill(topic, 5)
            async with cloud.proxy():
                await bed.shipped(task)
    assert any("reaching the target" in entry.get("doing", "") for entry in logs)
    await bed.assert_same(topic)


async def test_a_source_that_was_away_is_looked_at_again(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """A source that comes back with another log is noticed by a link that kept running, though its offsets fit."""
    turned = Bed(bed.site, bed.target, bed.source, bed.log)  # the cluster behind the relay is the source here
    topic = await turned.topic(partitions=1)
    await turned.fill(topic, 20, batch=5)
    settings = turned.settings().model_copy(update={"source": cloud.relayed})
    async with turned.link(settings) as task:
        await turned.shipped(task)
        await asyncio.sleep(0.5)  # a stored position has marks
        proxy.refuse_new = True
        proxy.cut()
        await turned.delete(turned.source, topic)
        await turned.topic(partitions=1)
        await turned.fill(topic, 10, batch=5)
        await turned.write(topic, 0, *(encode([numbered(1000 + n)]) for n in range(40)))
        proxy.refuse_new = False
        await until(lambda: turned.holds(remote(bed.site, topic), 60), "what is new is shipped")
    assert await turned.arrived(topic) == [*range(20), *range(1000, 1040)]


async def test_a_stop_while_the_target_is_away_is_prompt(bed: Bed, cloud: Relayed) -> None:
    """Told to stop with nobody to ship to, it ends within its drain time."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 5)
    settings = bed.settings(topic, drain_s=0.5).model_copy(update={"target": cloud.relayed})
    async with replicator(bed, settings) as process:
        await until(lambda: _is(b"reaching the target" in bed.log.read_bytes()), "it waits for the target")
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert time.monotonic() - began < 3
