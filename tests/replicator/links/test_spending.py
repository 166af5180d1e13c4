"""A link keeps to its rate and to its budget, over its lives."""

from __future__ import annotations

import asyncio
import time

from tests.replicator.bed import Bed, until


async def test_a_rate_is_kept(bed: Bed) -> None:
    """300 KB at 100 KB/s take about three seconds, and arrive whole."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 150, size=1000)
    began = time.monotonic()
    await bed.ship(link={"rate_bytes_s": 100_000})
    assert time.monotonic() - began > 2.0
    await bed.assert_same(topic)


async def test_a_budget_holds_over_lives(bed: Bed) -> None:
    """Of 500 KB an hour 2 MB do not go, neither in one life nor in two; without a budget the rest follows."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 2000, size=1000, batch=20)
    link = {"budget": {"hour_bytes": 500_000}, "rate_bytes_s": 200_000}
    for _ in range(2):
        async with bed.link(bed.settings(link=link, drain_s=0.5)):
            await until(lambda: bed.holds(f"{bed.site}.{topic}", 100, more=True), "some arrive")
            await asyncio.sleep(3.0)
    end = (await bed.target.offsets(f"{bed.site}.{topic}", "latest"))[0]
    assert 100 < end < 1000
    await bed.ship()
    await bed.assert_same(topic)
