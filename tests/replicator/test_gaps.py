"""Where records are gone: what is recorded, what goes on, and what can no longer land."""

from __future__ import annotations

import asyncio

import pytest

from headwater.contract.errors import DataMissing
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import encode, restamp
from headwater.transport.kafka_batch.calls import Fetched
from replicator.batch_engine import BatchEngine
from replicator.position import RETENTION
from replicator.running import run_link
from tests.replicator.bed import PATIENCE_S, Bed, numbered, until
from tests.replicator.silence import held_back

INVALID_PRODUCER_EPOCH = 47


async def test_deleted_records_that_were_not_shipped_are_a_gap(bed: Bed) -> None:
    """Retention that ate unshipped records is recorded with its offsets; what is left follows, in a new era."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 30)
    await bed.trim(bed.source, topic, 0, 35)
    async with bed.link(bed.settings()) as task:
        await until(lambda: bed.holds(remote(bed.site, topic), 35), "what is left is shipped")
        assert not task.done()
        await bed.fill(topic, 5)
        await until(lambda: bed.holds(remote(bed.site, topic), 40), "new records follow")
        await until(lambda: bed.ends_at(topic, 1, 55), "those of the other partition too")
    assert await bed.arrived(topic) == [*range(20), *range(35, 55)]
    assert await bed.arrived(topic, 1) == list(range(55))
    gaps = await bed.gaps()
    assert [(g.partition, g.cause, g.first, g.end, g.resumed_at, g.era) for g in gaps] == [
        (0, RETENTION, 20, 35, 35, 1)
    ]
    await bed.fill(topic, 5)
    await bed.ship_and_die()
    await bed.ship()
    assert await bed.arrived(topic) == [*range(20), *range(35, 60)]


async def test_a_gap_while_the_link_runs_is_noticed_at_the_next_fetch(bed: Bed) -> None:
    """Records deleted in front of a slow link are a gap; what it held already is shipped."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 100, size=500)
    async with held_back(bed) as go_on:
        await bed.trim(bed.source, topic, 0, 95)
        go_on.set()
        await until(lambda: bed.last_is(topic, 99), "what is left is shipped")
    arrived = await bed.arrived(topic)
    (gap,) = await bed.gaps()
    assert arrived == [*range(gap.first), *range(95, 100)]
    assert 0 < gap.first < gap.end == 95


async def test_a_link_that_halts_at_gaps_writes_nothing_behind_them(bed: Bed) -> None:
    """With on_gap = halt the partition stands still and others go on; when none can, the link ends with exit code 8."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.fill(topic, 30)
    await bed.trim(bed.source, topic, 0, 35)
    async with bed.link(bed.settings(on_gap="halt")) as task:
        await until(lambda: bed.ends_at(topic, 1, 50), "the other partition is shipped")
        assert not task.done()
    assert len(await bed.arrived(topic)) == 20
    await bed.trim(bed.source, topic, 1, 50)
    await bed.fill(topic, 1)
    await bed.trim(bed.source, topic, 1, 51)
    with pytest.raises(DataMissing, match="offsets 20 to 34 were deleted before they were shipped") as raised:
        await asyncio.wait_for(run_link(bed.settings(on_gap="halt"), asyncio.Event()), PATIENCE_S)
    assert raised.value.exit_code == 8
    assert not await bed.gaps()


async def test_deleted_records_that_were_shipped_are_no_gap(bed: Bed) -> None:
    """Retention that passed a stale position, but not what was shipped, costs nothing: the target tells."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 50)
    await bed.ship_and_die()
    await bed.trim(bed.source, topic, 0, 33)
    await bed.fill(topic, 10)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 60), "the new records are shipped")
    assert await bed.arrived(topic) == list(range(60))
    assert not await bed.gaps()


async def test_the_gap_behind_a_stale_position_is_exact(bed: Bed) -> None:
    """With position and shipped records both deleted, nothing is doubled and the gap begins behind what was shipped."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 50)
    await bed.ship_and_die()
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 60)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 60), "what is left is shipped")
    assert await bed.arrived(topic) == [*range(50), *range(60, 70)]
    assert [(g.cause, g.first, g.end) for g in await bed.gaps()] == [(RETENTION, 50, 60)]


async def test_batches_of_a_former_era_are_refused(bed: Bed) -> None:
    """What was under way before a gap cannot land behind it: its epoch is over, even where the sequence would fit."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 10)
    await bed.ship()
    late = (await bed.batches(bed.source, topic, 0))[0]
    await bed.fill(topic, 10)
    await bed.trim(bed.source, topic, 0, 15)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 15), "the new era has begun")
    batch = restamp(late, producer_id=await bed.producer(), epoch=0, sequence=10)
    assert (await bed.target.produce([(target, 0, batch)]))[0].error == INVALID_PRODUCER_EPOCH
    assert len(await bed.arrived(topic)) == 15


async def test_a_late_batch_before_the_first_of_an_era_moves_its_beginning(bed: Bed) -> None:
    """A batch from before the gap that lands after the anchor shifts the new era; the next life counts right."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 10)
    await bed.ship()
    pid = await bed.producer()
    await bed.fill(topic, 10)
    await bed.trim(bed.source, topic, 0, 15)

    class Late(BatchEngine):
        """Lets a batch of the former era land between its anchor and its first write."""

        async def ship(self, fetched: Fetched) -> None:
            late = encode([numbered(n) for n in range(10, 13)], producer_id=pid, epoch=0, sequence=10)
            await self._ends.target.produce([(target, 0, late)])
            await super().ship(fetched)

    task = asyncio.create_task(run_link(bed.settings(position_interval_s=600.0), asyncio.Event(), Late))
    await until(lambda: bed.holds(target, 18), "the era has begun behind the late batch")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bed.fill(topic, 5)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(target, 23), "the next life goes on")
    assert await bed.arrived(topic) == [*range(13), *range(15, 25)]
