"""Several instances of one link: who ships what, and what becomes of it when one of them dies."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Literal

import pytest

from headwater.contract.errors import Fenced
from headwater.contract.topics import positions, remote
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.kafka_batch.transactions import Producer
from replicator.acls import acl_lines
from replicator.journal import SHARED_KEY, Journal, Shared
from replicator.position import position_key
from replicator.settings import DownSettings, ReplicatorSettings
from replicator.sharing.shares import SHARES, share_of, share_of_key, writer_name
from tests.replicator.bed import Bed, replicator, until

MOVED_WITHIN_S = 10.0
PARTITIONS = 8


def test_a_share_is_fixed_by_topic_and_partition() -> None:
    """Whatever is stored of a partition is of its share, and the partitions of a topic are spread evenly."""
    assert Counter(share_of("readings", p) for p in range(16)) == dict.fromkeys(range(SHARES), 2)
    for key in (position_key("a.b-c", 12), b"gap/a.b-c/12/3", b"standing/a.b-c/12", b"a.b-c/12/0/77"):
        assert share_of_key(key) == share_of("a.b-c", 12)
    assert share_of_key(b"producer") is None


def test_what_sharing_and_the_way_down_need_is_among_the_permissions() -> None:
    """The lines for the administrator name the group of the instances, and both ways."""
    settings = ReplicatorSettings(
        site="lyon",
        source=KafkaSettings(brokers="edge:9092"),
        target=KafkaSettings(brokers="cloud:9092"),
        topics=("readings",),
        shared=True,
        down=DownSettings(topics=("hints",)),
    )

    lines = acl_lines(settings)

    assert any("--group headwater-replicator-lyon" in line.replace("'", "") for line in lines["target"])
    assert any("--topic hints" in line.replace("'", "") for line in lines["target"])
    assert any("--topic cloud." in line.replace("'", "") for line in lines["source"])
    assert any("--topic readings" in line.replace("'", "") for line in lines["source"])


async def test_shares_of_a_journal_shut_out_who_had_them_and_nobody_else(bed: Bed) -> None:
    """The next holder of a share ends the former one's writing of it; other shares are written on."""
    await bed.topic(partitions=1)
    await bed.ship()
    first = await Journal.open(bed.target, bed.site, {0, 1})
    second = await Journal.open(bed.target, bed.site, {1})
    try:
        assert await first.producer_id(bed.target) == await second.producer_id(bed.target) == await bed.producer()
        assert first.owns("t", _partition_of(0))
        assert not second.owns("t", _partition_of(0))
        await second.publish([(position_key("t", _partition_of(1)), b"x")])
        await first.publish([(position_key("t", _partition_of(0)), b"x")])
        with pytest.raises(Fenced):
            await first.publish([(position_key("t", _partition_of(1)), b"x")])
    finally:
        await first.close()
        await second.close()


async def test_a_link_that_is_not_shared_any_more_shuts_out_those_who_share_it(bed: Bed) -> None:
    """Nobody who still has a share writes positions beside the one who has all of the link now, and the other way."""
    await bed.topic(partitions=1)
    await bed.ship()
    shared = await Journal.open(bed.target, bed.site, {0, 1})
    whole = await Journal.open(bed.target, bed.site)
    try:
        with pytest.raises(Fenced):
            await shared.publish([(position_key("t", _partition_of(1)), b"x")])
        await whole.publish([(position_key("t", _partition_of(1)), b"x")])
        assert set(whole.former) == set(range(SHARES))  # for those who write elsewhere by shares
        again = await Journal.open(bed.target, bed.site, {1})
        await again.close()
        with pytest.raises(Fenced):
            await whole.publish([(position_key("t", _partition_of(1)), b"x")])
    finally:
        await shared.close()
        await whole.close()


async def test_an_instance_that_joins_shuts_nobody_out_of_what_is_shared_already(bed: Bed) -> None:
    """The name of the whole link is fenced by the first instance ever; the next ones read what it stored."""
    await bed.topic(partitions=1)
    await bed.ship()
    first = await Journal.open(bed.target, bed.site, {0})
    try:
        before = await bed.target.init_producer_id(writer_name(bed.site))
        second = await Journal.open(bed.target, bed.site, {1})
        await second.close()
        after = await bed.target.init_producer_id(writer_name(bed.site))
        assert after.epoch == before.epoch + 1  # by this question alone
        assert await second.producer_id(bed.target) == await first.producer_id(bed.target)
        await first.publish([(position_key("t", _partition_of(0)), b"x")])
    finally:
        await first.close()


class _Slow(Cluster):
    """Takes its time for the positions, as a long road does."""

    async def offsets(self, topic: str, end: Literal["earliest", "latest"]) -> dict[int, int]:
        if topic == self.slow:
            await asyncio.sleep(0.25)
        return await super().offsets(topic, end)

    slow = ""


async def test_two_instances_that_begin_at_once_on_a_slow_road_both_open(bed: Bed) -> None:
    """Who is shut out by the other one's start waits and reads what that one stored, instead of shutting it out."""
    await bed.topic(partitions=1)
    await bed.ship()
    opened: list[Journal] = []

    async def instance(held: set[int], wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        cluster = _Slow(bed.target.settings, client_id="slow")
        cluster.slow = positions(bed.site).name
        async with cluster:
            opened.append(await Journal.open(cluster, bed.site, held))
            await opened[-1].close()

    async with asyncio.timeout(15.0):
        await asyncio.gather(instance({0, 1}, 0.0), instance({2, 3}, 0.3))
    assert {journal.held for journal in opened} == {frozenset({0, 1}), frozenset({2, 3})}


class _Late(Cluster):
    """Somebody takes all of the link just before the first share is opened here."""

    whole: Journal | None = None
    bed: Bed

    async def init_producer_id(self, transactional_id: str | None = None) -> Producer:
        if self.whole is None and transactional_id == writer_name(self.bed.site, 0):
            self.whole = await Journal.open(self.bed.target, self.bed.site)
        return await super().init_producer_id(transactional_id)


async def test_who_takes_all_of_a_link_while_a_share_is_opened_is_shut_out(bed: Bed) -> None:
    """An instance that read that the link is shared looks again when it has its shares, and finds who came between."""
    await bed.topic(partitions=1)
    await bed.ship()
    await (await Journal.open(bed.target, bed.site, {0})).close()
    cluster = _Late(bed.target.settings, client_id="late")
    cluster.bed = bed
    async with cluster:
        shared = await Journal.open(cluster, bed.site, {0})
        assert cluster.whole is not None
        try:
            with pytest.raises(Fenced):
                await cluster.whole.publish([(position_key("t", _partition_of(0)), b"x")])
            await shared.publish([(position_key("t", _partition_of(0)), b"x")])
        finally:
            await shared.close()
            await cluster.whole.close()


async def test_an_announced_end_of_sharing_is_not_taken_for_sharing(bed: Bed) -> None:
    """Whoever is about to take all of the link, and has not shut out the shares yet, is shut out by who opens one."""
    await bed.topic(partitions=1)
    await bed.ship()
    await (await Journal.open(bed.target, bed.site, {0})).close()
    whole = await Journal.open(bed.target, bed.site)
    await whole.keep({SHARED_KEY: Shared(ending=True)})
    shared = await Journal.open(bed.target, bed.site, {0})
    try:
        with pytest.raises(Fenced):
            await whole.keep({SHARED_KEY: Shared(shared=False)})
    finally:
        await shared.close()
        await whole.close()


def _partition_of(share: int) -> int:
    return next(partition for partition in range(SHARES) if share_of("t", partition) == share)


@pytest.mark.slow
async def test_what_a_killed_instance_shipped_is_shipped_by_the_other_one(bed: Bed) -> None:
    """Both ship their part; after SIGKILL of one all partitions go on within ten seconds, and no record comes twice."""
    topic = await bed.topic(partitions=PARTITIONS)
    settings = bed.settings(topic, shared=True)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(replicator(bed, settings))
        await bed.fill(topic, 20)
        await bed.shipped()
        second = await stack.enter_async_context(replicator(bed, settings))
        await until(lambda: _said(bed, '"held": [', 3), "both have shares")
        await bed.fill(topic, 20)
        await bed.shipped()

        second.send_signal(signal.SIGKILL)
        await second.wait()
        killed = time.monotonic()
        await bed.fill(topic, 20)
        await bed.shipped()
        took_s = time.monotonic() - killed

    print(f"moved within {took_s:.1f} s")
    assert took_s < MOVED_WITHIN_S
    await bed.assert_same(topic)
    for partition in range(PARTITIONS):
        assert await bed.arrived(topic, partition) == list(range(60))
    assert not await bed.gaps()


async def _said(bed: Bed, what: str, times: int) -> bool:
    text = await asyncio.to_thread(bed.log.read_text)
    return text.count(what) >= times


@pytest.mark.slow
async def test_an_instance_that_is_told_to_stop_leaves_its_part_at_once(bed: Bed) -> None:
    """SIGTERM hands the partitions over without waiting for a session to end; a sleeper that wakes doubles nothing."""
    topic = await bed.topic(partitions=PARTITIONS)
    settings = bed.settings(topic, shared=True)
    async with replicator(bed, settings) as first, replicator(bed, settings) as second:
        await bed.fill(topic, 20)
        await bed.shipped()
        await until(lambda: _said(bed, '"held": [', 2), "both have shares")
        first.send_signal(signal.SIGSTOP)  # the second one gets everything when its session has ended
        await bed.fill(topic, 20)
        await bed.shipped()
        first.send_signal(signal.SIGCONT)
        await bed.fill(topic, 20)
        await bed.shipped()
        second.terminate()
        assert await asyncio.wait_for(second.wait(), 10) == 0
        began = time.monotonic()
        await bed.fill(topic, 20)
        await bed.shipped()
        assert time.monotonic() - began < MOVED_WITHIN_S / 2
    await bed.assert_same(topic)
    ends = await bed.target.offsets(remote(bed.site, topic), "latest")
    assert ends == dict.fromkeys(range(PARTITIONS), 80)
