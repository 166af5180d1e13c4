"""The way down: topics of the cloud that the same program brings to the site."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from headwater.contract.errors import BadInput, Fenced, Transient
from headwater.transport.kafka_batch import encode
from replicator.operating.observer import Observer
from replicator.settings import DownSettings, ReplicatorSettings
from replicator.ways import run_ways
from tests.replicator.bed import PATIENCE_S, Bed, numbered, numbers, until


async def test_hints_come_down_while_readings_go_up(bed: Bed) -> None:
    """One program ships both ways, each record once, also over a restart; what came down is not shipped up again."""
    up = await bed.topic(partitions=2)
    hints = f"hints-{bed.site}"
    await bed.make(bed.target, hints, 1)
    settings = bed.settings(up, down=DownSettings(topics=(hints,)), naming={"target_alias": f"c-{bed.site}"[:40]})
    arrived = settings.naming.target_alias + "." + hints
    for first in (0, 10):
        stop = asyncio.Event()
        running = asyncio.create_task(run_ways(settings, stop, Observer(settings)))
        try:
            await bed.fill(up, 10)
            await _hint(bed, hints, first)
            await bed.shipped(None)
            await until(partial(_has, bed, arrived, first + 10), "the hints are at the site")
        finally:
            stop.set()
            await asyncio.wait_for(running, 20)
    await bed.assert_same(up)
    assert numbers(await bed.data(bed.source, arrived, 0)) == list(range(20))


async def test_what_comes_down_is_paid_from_the_same_budget(bed: Bed) -> None:
    """Bytes from the cloud count; once the budget is used up nothing more comes down, until there is another one."""
    up, hints = await bed.topic(partitions=1), f"hints-{bed.site}"
    await bed.make(bed.target, hints, 1)
    more = {"down": DownSettings(topics=(hints,)), "position_interval_s": 1.0}
    settings = bed.settings(up, **more, link={"budget": {"hour_bytes": 1_000_000}})
    await _hint(bed, hints, 0, size=30_000)
    async with _running(settings) as observer:
        await until(partial(_has, bed, f"cloud.{hints}", 10), "the first hints are at the site")

        async def paid() -> bool:
            return (observer.snapshot().budget_left_bytes or 0) < 1_000_000 - 300_000

        await until(paid, "they are paid for")
        await bed.fill(up, 40, size=30_000, batch=1)
        await until(partial(_waits, observer), "the budget is used up, but for the first lane")
        await _hint(bed, hints, 10)
        await until(partial(_lags, observer), "it is known that something waits")
        assert await _has(bed, f"cloud.{hints}", 10)
    async with _running(bed.settings(up, **more)):
        await until(partial(_has, bed, f"cloud.{hints}", 20), "the other hints are at the site")


async def test_another_life_of_one_way_ends_both(bed: Bed) -> None:
    """Who was shut out in one direction runs in another process now, and ships nothing in the other one either."""
    up, hints = await bed.topic(partitions=1), f"hints-{bed.site}"
    await bed.make(bed.target, hints, 1)
    settings = bed.settings(up, down=DownSettings(topics=(hints,)))
    assert settings.down_link is not None
    await _hint(bed, hints, 0)
    running = asyncio.create_task(run_ways(settings, asyncio.Event(), Observer(settings)))
    await until(partial(_has, bed, f"cloud.{hints}", 10), "the hints are at the site")
    async with bed.link(settings.down_link):
        async with asyncio.timeout(PATIENCE_S):
            for first in itertools.count(10, 10):  # it learns of it when it has something to store
                await _hint(bed, hints, first)
                await until(partial(_has, bed, f"cloud.{hints}", first + 10), "more hints are at the site")
                if (await asyncio.wait([running], timeout=0.5))[0]:
                    break
    with pytest.raises(Fenced):
        running.result()


async def _waits(observer: Observer) -> bool:
    down = observer.snapshot().down
    return down is not None and down.paused == {"*": "the budget is used up, but for the first lane"}


async def _lags(observer: Observer) -> bool:
    down = observer.snapshot().down
    return down is not None and down.lag_records == 10


@asynccontextmanager
async def _running(settings: ReplicatorSettings) -> AsyncIterator[Observer]:
    stop, observer = asyncio.Event(), Observer(settings)
    running = asyncio.create_task(run_ways(settings, stop, observer))
    try:
        yield observer
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


async def _hint(bed: Bed, topic: str, first: int, size: int = 50) -> None:
    answer = await bed.target.produce([(topic, 0, encode([numbered(n, size) for n in range(first, first + 10)]))])
    assert answer[0].error == 0


async def _has(bed: Bed, topic: str, count: int) -> bool:
    try:
        return (await bed.source.offsets(topic, "latest"))[0] == count
    except (BadInput, Transient):  # not there yet
        return False
