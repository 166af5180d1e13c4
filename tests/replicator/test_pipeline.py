"""Several batches of a partition under way at once: quick on a long road, and each record once whatever breaks."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator

import pytest

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Batch, encode
from replicator.batch_engine import BatchEngine
from replicator.pipeline import Piece, Pipeline
from replicator.position import DOUBLED
from replicator.running import run_link
from tests.brokers import Relayed
from tests.proxy import Proxy
from tests.replicator.bed import Bed, numbered, replicator, until

SEED = 20_261_121
_DAYS_MS = 3 * 86_400_000


@pytest.fixture
async def proxy(cloud: Relayed) -> AsyncIterator[Proxy]:
    """The road to the target."""
    async with cloud.proxy() as relay:
        yield relay


async def test_a_long_round_trip_carries_many_batches(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """On a road of 300 ms, sixty batches of one partition take a few round trips, not sixty."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 10)
    async with bed.link(bed.settings().model_copy(update={"target": cloud.relayed})) as task:
        await bed.shipped(task)
        proxy.delay_s = 0.15
        began = time.monotonic()
        await bed.fill(topic, 600)
        await bed.shipped(task)
        took_s = time.monotonic() - began
        proxy.delay_s = 0.0
    assert took_s < 6
    await bed.assert_same(topic)


async def test_lost_acknowledgements_double_nothing(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """What the target wrote and could not say, more batches than it remembers, is not written again."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 10)
    async with bed.link(bed.settings().model_copy(update={"target": cloud.relayed})) as task:
        await bed.shipped(task)
        proxy.stall_answers()
        await bed.fill(topic, 40, batch=2)
        await until(lambda: bed.holds(remote(bed.site, topic), 50), "the target has written what it was sent")
        proxy.cut()
        await bed.fill(topic, 7)
        await bed.shipped(task)
    await bed.assert_same(topic)
    assert not await bed.gaps()


async def test_kills_with_many_batches_under_way_double_nothing(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """SIGKILL in the middle of a backlog on a slow road: the next life goes on exactly, late bytes or not."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 9000, batch=6)
    settings = bed.settings(topic).model_copy(update={"target": cloud.relayed})
    dice = random.Random(SEED)
    proxy.delay_s = 0.03
    before = [0]
    for _ in range(4):
        async with replicator(bed, settings) as process:
            await until(lambda: _more(bed, topic, before[-1]), "this life ships")
            await asyncio.sleep(dice.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            await process.wait()
        before.append(sum((await bed.target.offsets(remote(bed.site, topic), "latest")).values()))
    assert before[-1] < 18_000, "the last life has nothing left to ship"
    proxy.delay_s = 0.0
    async with replicator(bed, settings):
        await bed.shipped()
    await bed.assert_same(topic)
    for partition in range(2):
        await bed.assert_same_bytes(topic, partition)
    assert not await bed.gaps()


async def _more(bed: Bed, topic: str, before: int) -> bool:
    if not before:
        return await bed.holds(remote(bed.site, topic), 1, more=True)
    return sum((await bed.target.offsets(remote(bed.site, topic), "latest")).values()) > before


class Noisy(BatchEngine):
    """Flips a bit of one batch on its way, once."""

    spoilt = False

    def _send(self, pipeline: Pipeline, batch: Batch, piece: Piece) -> None:
        if batch.base_offset == 10 and not Noisy.spoilt:
            Noisy.spoilt = True
            data = bytearray(batch.raw)
            data[-1] ^= 1
            batch = batch._replace(raw=memoryview(data))
        super()._send(pipeline, batch, piece)


async def test_a_hole_behind_a_forgotten_producer_is_named_and_filled(bed: Bed, cloud: Relayed, proxy: Proxy) -> None:
    """Records older than a broker remembers producers: it refuses a batch and takes the next; none is missing."""
    topic = await bed.topic(partitions=1)
    old = [numbered(n)._replace(timestamp_ms=numbered(n).timestamp_ms - _DAYS_MS) for n in range(50)]
    await bed.write(topic, 0, encode(old[:10]))
    settings = bed.settings().model_copy(update={"target": cloud.relayed})
    task = asyncio.create_task(run_link(settings, asyncio.Event(), Noisy))
    target = remote(bed.site, topic)
    await until(lambda: bed.holds(target, 10), "the first batch is shipped")
    await until(lambda: _forgotten(bed, target), "the target forgets the producer")
    proxy.delay_s = 0.1  # so that they are under way together
    for first in range(10, 50, 10):
        await bed.write(topic, 0, encode(old[first : first + 10]))
    await until(lambda: bed.holds(target, 80), "what came behind the hole is shipped again")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    arrived = await bed.arrived(topic)
    (gap,) = await bed.gaps()
    assert gap.cause == DOUBLED
    assert arrived[: gap.first] + arrived[gap.end :] == list(range(50))


async def _forgotten(bed: Bed, target: str) -> bool:
    return not (await bed.target.describe_producers(target, [0]))[0]
