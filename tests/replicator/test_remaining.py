"""A target that loses what it had acknowledged while the link has nothing to write: it is noticed all the same."""

from __future__ import annotations

import pytest

from headwater.contract.topics import COMPACT, remote
from headwater.transport.kafka_batch import Out, encode
from headwater.transport.kafka_batch.standing import ends
from headwater.transport.retry import retrying
from tests.replicator.bed import Bed, now_ms, numbered


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


async def test_where_many_logs_end_is_asked_at_once(bed: Bed) -> None:
    """What a cluster does not have is told apart from what is empty."""
    topic = await bed.topic(partitions=2)
    await bed.write(topic, 1, encode([numbered(n) for n in range(3)]))
    asked = [(topic, 0), (topic, 1), (f"no-{topic}", 0)]

    async def found() -> dict[tuple[str, int], int | None]:
        return await ends(bed.source, asked)

    assert await retrying("asking", found, deadline_s=10) == {asked[0]: 0, asked[1]: 3, asked[2]: None}
