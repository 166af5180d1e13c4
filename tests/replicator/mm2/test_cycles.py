"""Records do not go round in circles between clusters whose topics keep their names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import structlog

from headwater.contract.errors import Refused, Transient
from headwater.contract.topics import gaps, manifest, positions
from headwater.transport.kafka_batch import Cluster, encode
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.alterations import cluster_id
from replicator.journal import Journal
from replicator.mm2.cycles import ORIGINS_KEY, Guard, Origins
from replicator.mm2.formats import OffsetSync
from replicator.mm2.plain import PlainTopic
from replicator.settings import ReplicatorSettings
from tests.replicator.bed import Bed, numbered, until

KEPT = {"keep_names": True}


def _back(bed: Bed) -> Bed:
    """The way back: from the target to the source, as a link of another site."""
    return Bed(f"back-{bed.site}"[:40], bed.target, bed.source, bed.log, dict(bed.partitions))


@pytest.mark.parametrize("policy", ["delete", "compact"])
async def test_of_two_links_in_opposite_directions_one_waits(bed: Bed, policy: str) -> None:
    """Started at once, one link ships and the other says why it does not; it begins when the first one has stopped."""
    topic, back = await bed.topic(partitions=1, cleanup_policy=policy), _back(bed)
    await bed.make(bed.target, topic, 1, cleanup_policy=policy)
    back.partitions = dict(bed.partitions)
    with structlog.testing.capture_logs() as logs:
        async with _both(bed, back) as links:
            await until(lambda: _waits(logs, 1), "one of the two waits")
            await until(lambda: _opened(logs, 1), "the other one ships")
            shipping = next(entry["site"] for entry in logs if entry["event"] == "link is open")
            here, there = (bed.source, bed.target) if shipping == bed.site else (bed.target, bed.source)
            await here.produce([(topic, 0, encode([numbered(0)]))])
            await until(lambda: _has_data(bed, there, topic, 1), "the record is shipped")
            assert await _has_data(bed, here, topic, 1)
            assert not [link for link in links if link.done()]
    assert await _has_data(bed, here, topic, 1), "nothing came back"


@asynccontextmanager
async def _both(bed: Bed, back: Bed) -> AsyncIterator[list[asyncio.Task[Any]]]:
    way_back = back.settings(naming={**KEPT, "target_alias": bed.site})
    async with back.link(way_back) as second, bed.link(bed.settings(naming=KEPT)) as first:
        yield [first, second]


async def _has_data(bed: Bed, cluster: Cluster, topic: str, count: int) -> bool:
    return count == len(await bed.data(cluster, topic, 0))


async def _waits(logs: list[structlog.typing.EventDict], count: int) -> bool:
    return count <= len([entry for entry in logs if "go round in circles" in str(entry.get("why"))])


async def _opened(logs: list[structlog.typing.EventDict], count: int) -> bool:
    return count <= len([entry for entry in logs if entry["event"] == "link is open"])


async def test_a_link_that_waits_begins_when_the_other_has_stopped(bed: Bed) -> None:
    """After a planned change of direction nothing has to be deleted: the stopped link has taken its word back."""
    topic, back = await bed.topic(partitions=1), _back(bed)
    with structlog.testing.capture_logs() as logs:
        async with AsyncExitStack() as longer:
            async with bed.link(bed.settings(naming=KEPT)):
                await until(lambda: bed.holds(topic, 0), "the first link is at work")
                way_back = back.settings(naming={**KEPT, "target_alias": bed.site})
                await longer.enter_async_context(back.link(way_back))
                await until(lambda: _waits(logs, 1), "the way back waits")
            await until(lambda: _opened(logs, 2), "the way back begins")


@asynccontextmanager
async def _guard(bed: Bed, **more: Any) -> AsyncIterator[tuple[Guard, Journal]]:
    """The guard of a link, with quick beats, and its journal."""
    settings: ReplicatorSettings = bed.settings(f"t-{bed.site}", naming=KEPT, **more)
    for spec in (positions(bed.site), gaps(bed.site), manifest(bed.site, -1)):
        await create_topic(bed.target, spec)
    journal = await Journal.open(bed.target, bed.site)
    try:
        yield Guard(settings, bed.source, bed.target, journal, beat_s=0.05), journal
    finally:
        await journal.close()


async def test_the_word_of_a_killed_link_expires(bed: Bed) -> None:
    """What a link brought that was killed is waited for until its word has not changed for a while."""
    topic = f"t-{bed.site}"
    async with _guard(bed) as (guard, _), _guard(_back(bed)) as (_, other):
        here, there = await cluster_id(bed.source), await cluster_id(bed.target)
        await other.keep({ORIGINS_KEY: Origins({topic: [there]}, 7)})
        with pytest.raises(Transient, match=f"{topic} comes from cloud"):
            await guard.admit(topic)
        await guard.admit("another")

        async def admitted() -> bool:
            try:
                await guard.admit(topic)
            except Transient:
                return False
            return True

        await until(admitted, "the word has expired")
        await other.keep({ORIGINS_KEY: Origins({topic: [here, there]}, 8)})
        with pytest.raises(Refused, match="goes round in circles"):
            await guard.run()


async def test_a_longer_way_round_is_seen(bed: Bed) -> None:
    """What a link says of a topic includes the clusters before its source, so that three links see their circle."""
    topic = f"t-{bed.site}"
    back = _back(bed)
    async with _guard(bed) as (guard, journal), _guard(back) as (_, other):
        await other.keep({ORIGINS_KEY: Origins({topic: ["a-third-cluster"]}, 1)})
        await guard.admit(topic)
        kept = await bed.target.offsets(positions(bed.site).name, "latest")
        assert kept[0] > 0
        here = await cluster_id(bed.source)
        told = [record.value for record in await bed.data(bed.target, positions(bed.site).name, 0)]
        assert f'["{min(here, "a-third-cluster")}","{max(here, "a-third-cluster")}"]'.encode() in (told[-1] or b"")
        del journal


async def test_mirrormaker_that_ships_back_is_seen_by_its_offset_syncs(bed: Bed) -> None:
    """While offset syncs of the way back move at the target, the topic goes round: the link ends and says so."""
    topic = f"t-{bed.site}"
    async with _guard(bed) as (guard, _):
        syncs = PlainTopic(bed.target, f"mm2-offset-syncs.{bed.site}.internal")
        await syncs.make()
        await guard.admit(topic)

        async def ship_back() -> None:
            for offset in range(1000):
                sync = OffsetSync(topic, 0, offset, offset)
                await syncs.write([(sync.key, sync.value)])
                await asyncio.sleep(0.02)

        shipping = asyncio.create_task(ship_back())
        with pytest.raises(Refused, match=f"{topic} goes round in circles"):
            await guard.run()
        shipping.cancel()


async def test_one_cluster_cannot_be_both_ends(bed: Bed) -> None:
    """With kept names a cluster is not shipped onto itself."""
    topic = f"t-{bed.site}"
    itself = Bed(bed.site, bed.source, bed.source, bed.log)
    async with _guard(itself) as (guard, _):
        with pytest.raises(Refused, match="are one cluster"):
            await guard.admit(topic)
