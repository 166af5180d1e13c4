"""On a slow link nothing takes it for long in one piece, so that a cut costs little and progress never stops."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from bench.link.road import Conditions, Link
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Cluster, Fetched, encode
from headwater.transport.kafka_batch.compression import Codec
from replicator.limits import NO_LIMIT
from replicator.links.governor import Governor
from replicator.links.sizing import AT_ONCE_S, LEAST_BYTES, UNKNOWN_BYTES, Sizing
from replicator.proof.checking import SOURCE, TARGET
from replicator.proof.sides import check_side
from tests.brokers import Relayed
from tests.replicator.bed import Bed, numbered, until
from tests.replicator.silence import standing


def test_a_batch_takes_about_a_second_of_the_link() -> None:
    """Whoever builds batches is told the bytes, at changes that matter; on the slowest links there is a least."""
    sizing, told = Sizing(), list[int]()
    sizing.watch(told.append)
    sizing.follow(None)
    sizing.follow(8000.0)
    sizing.follow(8100.0)
    sizing.follow(100.0)
    sizing.follow(1e6, delivered=0)
    sizing.follow(1e6, delivered=400_000)
    sizing.follow(None)
    assert told == [NO_LIMIT, int(8000 * AT_ONCE_S), LEAST_BYTES, UNKNOWN_BYTES, UNKNOWN_BYTES + 50_000, NO_LIMIT]


async def test_nothing_is_cut_on_a_short_road_nor_where_the_rate_is_high() -> None:
    """Neither the loopback nor a fast long road makes batches of 1 MB smaller."""
    near, far = Governor([1.0]), Governor([1.0])
    near.tripped(0.001)
    assert near.sizing.most == NO_LIMIT
    far.tripped(0.05)
    assert far.sizing.most == UNKNOWN_BYTES
    far.estimate.delivered = 8 << 20
    far.tripped(0.05)
    assert far.sizing.most > 500_000


@pytest.mark.parametrize(("codec", "compacted"), [("none", False), ("zstd", False), ("none", True)])
async def test_batches_are_cut_to_the_rate(bed: Bed, codec: Codec, compacted: bool) -> None:
    """At 32 KB a second a batch of 100 KB leaves in pieces, in the codec it had; the proof covers its records."""
    topic = await bed.topic(partitions=1, **({"cleanup_policy": "compact"} if compacted else {}))
    outs = [numbered(n)._replace(key=b"k%d" % n, value=b"%d " % n + _noise(n)) for n in range(100)]
    await bed.write(topic, 0, encode(outs, codec=codec), encode([numbered(100, 60_000)]))  # a record cannot be cut
    await bed.ship(link={"rate_bytes_s": 32_000})
    theirs = await bed.batches(bed.target, remote(bed.site, topic), 0)
    sizes = [len(batch.raw) for batch in theirs]
    assert max(sizes[:-1]) <= 32_000 * AT_ONCE_S
    assert 3 <= len(sizes) <= 12
    if compacted:
        return
    await bed.assert_same(topic)
    assert {batch.codec for batch in theirs[:-1]} == {codec}
    found = await standing(bed, topic)
    assert found is not None
    assert found.reworked == {"slow": 1}
    (there,), (here,) = await check_side(bed.settings(), TARGET), await check_side(bed.settings(), SOURCE)
    assert (there.proven, here.proven, here.counted) == (101, 101, 0)
    assert there.agrees
    assert here.agrees


async def test_little_is_read_back_at_a_time(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a kill, what is read back for the proof comes in pieces as large as those that leave, and is proven."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 100, size=1000, batch=10)
    await bed.ship_and_die()
    found: list[int] = []
    fetch = Cluster.fetch

    async def counting(*given: Any, **more: Any) -> list[Fetched]:
        fetched = await fetch(*given, **more)
        found.extend(len(each.data) for each in fetched if each.topic == remote(bed.site, topic))
        return fetched

    monkeypatch.setattr(Cluster, "fetch", counting)
    async with bed.link(bed.settings(link={"rate_bytes_s": 16_000})):
        await until(lambda: _holds(lambda: sum(found) >= 100_000), "all is read back")
    assert max(found) <= 16_000 * AT_ONCE_S
    (there,) = await check_side(bed.settings(), TARGET)
    assert there.proven == 100


async def _holds(what: Callable[[], bool]) -> bool:
    return what()


async def test_a_link_that_lasts_no_longer_than_a_second_or_two_carries_large_batches(bed: Bed, cloud: Relayed) -> None:
    """A batch that takes four seconds arrives over a link that breaks every two; little of it is sent again."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 160, size=1000, batch=160)
    road = Conditions(cloud.ports["proxy"], f"127.0.0.1:{cloud.ports['relay']}", 40_000.0, 0.1)
    settings = bed.settings(topic).model_copy(update={"target": cloud.relayed})
    async with Link(road) as link, bed.link(settings) as task:

        async def cutting() -> None:
            while True:
                await asyncio.sleep(2.0)
                link.cut(0.1)

        await until(lambda: bed.holds(remote(bed.site, topic), 1, more=True), "something arrives")
        breaker = asyncio.create_task(cutting())
        await bed.shipped(task)
        breaker.cancel()
        sent = link.counts.up
    await bed.assert_same(topic)
    assert not await bed.gaps()
    assert sent < 1.5 * 160 * 1020


def _noise(number: int) -> bytes:
    return random.Random(number).randbytes(1000)
