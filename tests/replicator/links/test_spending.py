"""A link keeps to its rate and to its budget, over its lives."""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial

import pytest

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import encode
from tests.replicator.bed import Bed, numbered, until


@pytest.mark.parametrize("configs", [{}, {"cleanup_policy": "compact"}])
async def test_a_rate_is_kept(bed: Bed, configs: dict[str, str]) -> None:
    """300 KB at 100 KB/s take about three seconds, and arrive whole, in batches or record by record."""
    topic = await bed.topic(partitions=2, **configs)
    for partition in range(2):
        noise = random.Random(partition)
        outs = [numbered(n)._replace(key=b"k%d" % n, value=b"%d " % n + noise.randbytes(1000)) for n in range(150)]
        await bed.write(topic, partition, *(encode(outs[n : n + 10]) for n in range(0, 150, 10)))
    began = time.monotonic()
    async with bed.link(bed.settings(link={"rate_bytes_s": 100_000})):
        await until(lambda: bed.holds(remote(bed.site, topic), 0, more=True), "the target is made")
        for partition in range(2):
            await until(partial(_has, bed, topic, partition, 150), "all is shipped")
        assert time.monotonic() - began > 2.0
    assert [await bed.arrived(topic, partition) for partition in range(2)] == [list(range(150))] * 2


async def _has(bed: Bed, topic: str, partition: int, count: int) -> bool:
    return len(await bed.data(bed.target, remote(bed.site, topic), partition)) == count


async def test_a_budget_holds_over_lives(bed: Bed) -> None:
    """Of 1 MB an hour 4 MB do not go, on a fast road and over two lives; without a budget the rest follows."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 4000, size=1000, batch=20)
    link = {"budget": {"hour_bytes": 1_000_000}}
    for _ in range(2):
        async with bed.link(bed.settings(link=link, drain_s=0.5)):
            await until(lambda: bed.holds(f"{bed.site}.{topic}", 100, more=True), "some arrive")
            await asyncio.sleep(1.5)
    end = (await bed.target.offsets(f"{bed.site}.{topic}", "latest"))[0]
    assert 100 < end < 1300
    await bed.ship()
    await bed.assert_same(topic)
