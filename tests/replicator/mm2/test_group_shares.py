"""Who tells where a consumer group stands, while the shares of a link go from one instance to another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial

import pytest

from headwater.contract.errors import Fenced
from headwater.transport.kafka_batch import read_compacted
from headwater.transport.kafka_batch.groups import Committed, Groups
from replicator.engine import unfetched
from replicator.flow import Flow
from replicator.mm2.follow import Follower
from replicator.mm2.formats import read_checkpoint
from replicator.sharing.elsewhere import Elsewhere
from replicator.sharing.shares import SHARES, share_of
from tests.replicator.bed import Bed


@asynccontextmanager
async def _follower(
    bed: Bed, topic: str, held: Collection[int] | None, former: Collection[int] = ()
) -> AsyncIterator[Follower]:
    """What follows groups in an instance that has these shares."""
    settings = bed.settings(topic, mm2={"publish": True, "groups": (f".*{bed.site}.*",)})
    flows = []
    for partition in range(SHARES):
        if held is None or share_of(topic, partition) in held:
            engine = Elsewhere(settings.way(topic, partition), "batch")
            engine.position = await bed.position(topic, partition)
            flows.append(Flow(engine, 1, lambda: None, partial(unfetched, bed.source)))
    found = Follower(settings, bed.source, bed.target, {topic: flows}, held, former=former)
    try:
        await found.prepare()
        yield found
    finally:
        await found.close()


async def _shipped(bed: Bed) -> str:
    topic = await bed.topic(partitions=SHARES)
    await bed.fill(topic, 10)
    await bed.ship()
    return topic


async def _stand(bed: Bed, topic: str, offset: int) -> None:
    """Have a group at the source stand at an offset everywhere."""
    stands = {(topic, partition): Committed(offset) for partition in range(SHARES)}
    assert await Groups(bed.source).commit(f"g-{bed.site}", stands)


async def _told(bed: Bed) -> list[int]:
    """Where the group is told to stand, in the partitions that have a checkpoint."""
    kept = await read_compacted(bed.target, f"{bed.site}.checkpoints.internal", 0)
    return [read_checkpoint(key, record.value).upstream for key, record in kept.items()]


async def test_who_has_lost_its_shares_writes_no_checkpoint(bed: Bed) -> None:
    """Whichever shares the next holder has besides; who keeps its own goes on telling of them."""
    topic = await _shipped(bed)
    await _stand(bed, topic, 5)
    async with _follower(bed, topic, range(4, 6)) as sleeper, _follower(bed, topic, range(6, SHARES)) as other:
        await sleeper.step()
        await other.step()
        assert await _told(bed) == [5] * 4
        async with _follower(bed, topic, range(6)) as successor:
            await successor.step()
            assert await _told(bed) == [5] * SHARES
            await _stand(bed, topic, 7)
            with pytest.raises(Fenced):
                await sleeper.step()
            await successor.step()
            await other.step()
            assert await _told(bed) == [7] * SHARES


async def test_a_link_that_is_not_shared_any_more_tells_of_groups_alone(bed: Bed) -> None:
    """Whoever had a share of it writes no checkpoint beside the one who has all of it now, and the other way."""
    topic = await _shipped(bed)
    await _stand(bed, topic, 1)
    async with _follower(bed, topic, range(4)) as shared, _follower(bed, topic, None, range(SHARES)) as whole:
        await _stand(bed, topic, 2)
        with pytest.raises(Fenced):
            await shared.step()
        await whole.step()
        async with _follower(bed, topic, range(SHARES)) as again:
            await _stand(bed, topic, 3)
            with pytest.raises(Fenced):
                await whole.step()
            await again.step()
            assert await _told(bed) == [3] * SHARES
