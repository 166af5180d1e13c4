"""The way down: topics of the cloud that the same program brings to the site."""

from __future__ import annotations

import asyncio
from functools import partial

from headwater.contract.errors import BadInput, Transient
from headwater.transport.kafka_batch import encode
from replicator.operating.observer import Observer
from replicator.settings import DownSettings
from replicator.ways import run_ways
from tests.replicator.bed import Bed, numbered, numbers, until


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


async def _hint(bed: Bed, topic: str, first: int) -> None:
    answer = await bed.target.produce([(topic, 0, encode([numbered(n) for n in range(first, first + 10)]))])
    assert answer[0].error == 0


async def _has(bed: Bed, topic: str, count: int) -> bool:
    try:
        return (await bed.source.offsets(topic, "latest"))[0] == count
    except (BadInput, Transient):  # not there yet
        return False
