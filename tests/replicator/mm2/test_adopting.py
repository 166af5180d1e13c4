"""A link that takes over from MirrorMaker 2: nothing is shipped again, and nothing is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Producer

from headwater.contract.errors import Refused
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Out
from headwater.transport.kafka_batch.alterations import all_topics
from replicator.mm2 import adopting
from replicator.operating.live import folder_of, served
from replicator.operating.observer import Observer
from replicator.verify import verify_link
from tests.replicator.bed import Bed, numbered, numbers, put, until


async def _copied(bed: Bed, topic: str, *runs: range) -> None:
    """Copy source records to the target as MirrorMaker does: one by one, in batches of its own, from partition 0."""
    if remote(bed.site, topic) not in await all_topics(bed.target):
        await bed.make(bed.target, remote(bed.site, topic), bed.partitions[topic])
    found = await bed.data(bed.source, topic, 0)
    outs = [Out(r.key, r.value, r.headers, r.timestamp_ms) for run in runs for r in (found[n] for n in run)]
    producer = Producer({"bootstrap.servers": bed.target.settings.brokers, "linger.ms": 20, "log_level": 0})
    put(producer, remote(bed.site, topic), outs)
    assert producer.flush(10) == 0


async def test_a_link_goes_on_behind_what_mirrormaker_copied(bed: Bed) -> None:
    """After repeats by a restart of MirrorMaker, the link ships the next record and all that follow, over a kill."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 40)
    await _copied(bed, topic, range(20), range(15, 25))
    found = await adopting.adopt(bed.settings())
    assert [(each.partition, each.state, each.source_next, each.target_next) for each in found] == [
        (0, "adopted", 25, 30),
        (1, "empty", -1, -1),
    ]
    async with bed.link(bed.settings()):
        await until(lambda: bed.ends_at(topic, 0, 45), "the rest is shipped")
    await bed.fill(topic, 5)
    await bed.ship_and_die_at(topic, 0, 50)
    await bed.fill(topic, 5)
    async with bed.link(bed.settings()):
        await until(lambda: bed.ends_at(topic, 0, 55), "a later life goes on")
        await until(lambda: bed.ends_at(topic, 1, 50), "the other partition is shipped whole")
    assert await bed.arrived(topic) == [*range(20), *range(15, 25), *range(25, 50)]
    compared = {each.partition: each for each in await verify_link(bed.settings())}
    assert all(each.agrees for each in compared.values())
    assert (compared[0].compared, compared[0].skipped) == (25, 30)
    again = await adopting.adopt(bed.settings())
    assert {each.state for each in again} == {"shipped already"}


async def test_a_place_that_is_not_sure_is_not_adopted(bed: Bed) -> None:
    """Records that are there several times, or not at all, are no place to go on from; it is said why."""
    twice, gone, other = [await bed.topic(stem, 1) for stem in ("twice", "gone", "other")]
    same = Out(b"k", b"v", (), numbered(0).timestamp_ms)
    for topic in (twice, gone, other):
        bed.produce(topic, [same, same, same])
    await _copied(bed, twice, range(1))
    await _copied(bed, gone, range(3))
    await bed.trim(bed.target, remote(bed.site, gone), 0, 3)
    await bed.make(bed.target, remote(bed.site, other), 1)
    producer = Producer({"bootstrap.servers": bed.target.settings.brokers, "log_level": 0})
    put(producer, remote(bed.site, other), [numbered(7)])
    assert producer.flush(10) == 0
    found = {each.topic: each for each in await adopting.adopt(bed.settings())}
    assert {each.state for each in found.values()} == {"not adopted"}
    assert found[twice].remark == "the last records are at several places of the source, behind offsets 0, 1, 2"
    assert "no records left" in found[gone].remark
    assert "not at the source" in found[other].remark


async def test_a_compacted_topic_is_shipped_whole_once_more(bed: Bed) -> None:
    """Of a compacted topic the newest record of each key counts, so its state is shipped again behind the copy."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact")
    await bed.fill(topic, 10)
    await bed.make(bed.target, remote(bed.site, topic), 1, cleanup_policy="compact")
    await _copied(bed, topic, range(6))
    (found,) = await adopting.adopt(bed.settings())
    assert (found.state, found.source_next, found.target_next) == ("adopted", 0, 6)

    async def arrived() -> bool:
        return len(await bed.arrived(topic)) == 16

    async with bed.link(bed.settings()):
        await until(arrived, "the state is shipped")
    assert numbers(await bed.data(bed.target, remote(bed.site, topic), 0)) == [*range(6), *range(10)]


async def test_adopting_spares_a_link_that_runs(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a link of this machine it is refused; where all is shipped already, one elsewhere is not shut out."""
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    topic, settings = await bed.topic(partitions=1), bed.settings()
    await bed.fill(topic, 10)
    async with bed.link(settings) as task:
        await bed.shipped(task)
        async with served(folder_of(bed.site), Observer(settings).snapshot):
            with pytest.raises(Refused, match=r"runs, process \d+") as refused:
                await adopting.adopt(settings)
            assert "stop it first, process " in refused.value.hint
        (found,) = await adopting.adopt(settings)
        assert found.state == "shipped already"
        await bed.fill(topic, 10)
        await bed.shipped(task)
        await until(lambda: _is_stored(bed, topic, 20), "it stores positions")


async def _is_stored(bed: Bed, topic: str, end: int) -> bool:
    return (await bed.position(topic)).source_next == end
