"""A target that loses what it had acknowledged while the link has nothing to write: it is noticed all the same."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from headwater.contract.errors import DataMissing, Refused, Transient
from headwater.contract.topics import COMPACT, positions, remote
from headwater.transport.kafka_batch import Out, encode
from headwater.transport.kafka_batch.standing import ends
from headwater.transport.retry import retrying
from replicator.flow import Flow
from replicator.running import run_link
from replicator.sharing.elsewhere import Elsewhere
from replicator.way import Way
from tests.replicator.bed import PATIENCE_S, Bed, now_ms, numbered, until


@pytest.mark.parametrize("configs", [{}, COMPACT], ids=["batches", "compacted"])
async def test_what_an_idle_target_loses_comes_again(bed: Bed, configs: dict[str, str]) -> None:
    """Its topic was emptied, and nothing new comes at the source: what was acknowledged is shipped again by itself."""
    topic = await bed.topic(partitions=2, **{key.replace(".", "_"): value for key, value in configs.items()})
    for partition in range(2):
        bed.produce(topic, [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20)], partition)
    async with bed.link(bed.settings(position_interval_s=0.1)) as task:
        await bed.shipped(task)
        await bed.delete(bed.target, remote(bed.site, topic))
        await bed.make(bed.target, remote(bed.site, topic), 2, **configs)
        await bed.shipped(task)
        assert not task.done()
    for partition in range(2):
        assert await bed.arrived(topic, partition) == list(range(20))
    assert not await bed.gaps()


@pytest.mark.parametrize("configs", [{}, COMPACT], ids=["batches", "compacted"])
async def test_a_topic_that_is_deleted_at_the_target_is_made_again(bed: Bed, configs: dict[str, str]) -> None:
    """Nobody but the link makes it: what was acknowledged is shipped again, and so is what came meanwhile."""
    dotted = {key.replace(".", "_"): value for key, value in configs.items()}
    idle, busy = await bed.topic("idle", partitions=1, **dotted), await bed.topic("busy", partitions=2, **dotted)
    outs = [Out(b"k%d" % n, b"%d " % n, (), now_ms()) for n in range(20)]
    for topic, partition in ((idle, 0), (busy, 0), (busy, 1)):
        bed.produce(topic, outs[:10], partition)
    async with bed.link(bed.settings(position_interval_s=0.1)) as task:
        await bed.shipped(task)
        for topic in (idle, busy):
            await bed.delete(bed.target, remote(bed.site, topic))
        for partition in range(2):
            bed.produce(busy, outs[10:], partition)
        await bed.shipped(task)
        assert not task.done()
    assert await bed.arrived(idle) == list(range(10))
    for partition in range(2):
        assert await bed.arrived(busy, partition) == list(range(20))
    assert not await bed.gaps()


async def test_a_link_that_stops_without_the_topic_it_ships_to_does_not_end_well(bed: Bed) -> None:
    """It was deleted at the target, and there was no time to make it again: the code of missing records, not 0."""
    topic, stop = await bed.topic(partitions=1), asyncio.Event()
    await bed.fill(topic, 20)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(run_link(bed.settings(position_interval_s=60, drain_s=1), stop))
        await bed.shipped(task)
        await bed.delete(bed.target, remote(bed.site, topic))
        await bed.fill(topic, 5)

        async def has_lost_its_place() -> bool:
            return any(entry["event"] == "anchoring again" for entry in logs)

        await until(has_lost_its_place, "the link has seen it")
        stop.set()
        ended = await asyncio.wait_for(task, PATIENCE_S)
    assert isinstance(ended, DataMissing)
    assert remote(bed.site, topic) in str(ended)


class _Adrift(Elsewhere):
    """An engine whose topic is not there."""

    async def anchor(self) -> int:
        raise Transient("no such topic")


async def test_a_partition_whose_topic_may_not_be_made_again_halts() -> None:
    """A permission is missing, say: it is named where halted partitions are, instead of being tried without a word."""
    way = Way("s", "t", 0, "s.t")
    flow = Flow(_Adrift(way, "batch"), 1 << 20, lambda: None, lambda *_: Transient("unused"))
    running = asyncio.create_task(flow.run())

    async def is_adrift() -> bool:
        return flow.adrift

    await until(is_adrift, "it has lost its place")
    flow.give_up(refusal := Refused("topic s.t may not be made"))
    await asyncio.wait_for(running, PATIENCE_S)
    assert flow.halted is refusal
    assert not flow.adrift


async def test_a_link_without_its_positions_does_not_go_on(bed: Bed) -> None:
    """Their topic was deleted at the target: nobody can know what was shipped, and the link ends with that."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    task = asyncio.create_task(run_link(bed.settings(position_interval_s=0.1), asyncio.Event()))
    await bed.shipped(task)
    await bed.delete(bed.target, positions(bed.site).name)
    await bed.fill(topic, 5)
    with pytest.raises(Refused, match="no position is stored"):
        await asyncio.wait_for(task, PATIENCE_S)


async def test_where_many_logs_end_is_asked_at_once(bed: Bed) -> None:
    """What a cluster does not have is told apart from what is empty."""
    topic = await bed.topic(partitions=2)
    await bed.write(topic, 1, encode([numbered(n) for n in range(3)]))
    asked = [(topic, 0), (topic, 1), (f"no-{topic}", 0)]

    async def found() -> dict[tuple[str, int], int | None]:
        return await ends(bed.source, asked)

    assert await retrying("asking", found, deadline_s=10) == {asked[0]: 0, asked[1]: 3, asked[2]: None}
