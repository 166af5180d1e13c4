"""Consumer groups that move to the cloud while a backlog is shipped beside: they get a place in both topics."""

from __future__ import annotations

from bisect import bisect_left

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import read_compacted
from headwater.transport.kafka_batch.groups import Committed, Groups
from replicator.mm2.translate import Translator
from replicator.position import Position, decode, position_key
from tests.replicator.bed import Bed, numbered, numbers, put, until
from tests.replicator.fresh.test_streams import backlog, both, fill, live, settings


async def _write(bed: Bed, topic: str, first: int, count: int) -> None:
    """Write records, with aborted ones between them and markers behind."""
    producer = bed.transactional(f"{bed.site}-{first}")
    for aborts in (False, True, False):
        producer.begin_transaction()
        put(producer, topic, [numbered(n, 300) for n in range(first, first + count)])
        producer.flush(10)
        if aborts:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
            first += count


async def test_a_group_gets_a_place_in_both_topics_and_skips_nothing(bed: Bed) -> None:
    """For each offset of the source: what a group has not read there it finds behind its places at the target."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 20)
    await bed.ship()
    await _write(bed, topic, 20, 200)
    await fill(bed, topic, 420, 30)
    group, middle = f"g-{bed.site}", 150
    assert await Groups(bed.source).commit(group, {(topic, 0): Committed(middle)})
    mm2 = {"sync_group_offsets": True, "groups": (f".*{bed.site}.*",), "checkpoint_interval_s": 0.1}
    async with bed.link(settings(bed, 20_000, drain_s=0.1, mm2=mm2)):
        await until(lambda: _newest(bed, topic, 449), "the newest record arrives")
        await until(lambda: _stands(bed, group, topic), "the group stands in both")
    async with bed.link(settings(bed, None, mm2=mm2)):
        await until(lambda: _all(bed, topic, 450), "all is shipped")
    kept = await read_compacted(bed.target, f"{bed.site}.positions.internal", 0)
    offsets = {n: r.offset for r in await bed.data(bed.source, topic, 0) for n in numbers([r])}
    end, link = max(offsets.values()) + 1, settings(bed)
    for way, found in (
        (link.way(topic, 0), await live(bed, topic)),
        (link.backlog_way(topic, 0), await backlog(bed, topic)),
    ):
        position = decode(kept[position_key(way.ledger, 0)].value, Position, "position")
        places, translator = [offsets[n] for n in found], Translator(bed.source, bed.target)
        for offset in {*range(0, end + 1, 17), 20, 21, position.source_first, position.source_next, end}:
            assert await translator.by_count(way, position, offset) == bisect_left(places, offset), (way, offset)


async def _newest(bed: Bed, topic: str, number: int) -> bool:
    return number in await live(bed, topic)


async def _all(bed: Bed, topic: str, count: int) -> bool:
    return await both(bed, topic) == count


async def _stands(bed: Bed, group: str, topic: str) -> bool:
    found = await Groups(bed.target).committed(group)
    name = remote(bed.site, topic)
    return {(name, 0), (f"{name}.backlog", 0)} <= found.keys()
