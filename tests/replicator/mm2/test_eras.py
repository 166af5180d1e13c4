"""Consumer groups of topics that go record by record, over the eras of their logs."""

from __future__ import annotations

from headwater.contract.topics import remote
from replicator.mm2.translate import Translator
from tests.replicator.bed import Bed, until


async def test_offsets_in_a_compacted_topic_that_was_made_anew_are_of_its_new_log(bed: Bed) -> None:
    """They begin again at 0, behind all that was shipped of the former one: no group goes back into that."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact,delete", max_compaction_lag_ms=str(1 << 60))
    await bed.fill(topic, 90, batch=9)
    await bed.ship()
    before = (await bed.target.offsets(remote(bed.site, topic), "latest"))[0]
    await bed.delete(bed.source, topic)
    await bed.make(bed.source, topic, 1, cleanup_policy="compact,delete")
    await bed.fill(topic, 12, batch=3)
    async with bed.link(bed.settings()):
        await until(lambda: bed.last_is(topic, 11), "the new log is shipped")
    way, position = bed.settings().way(topic, 0), await bed.position(topic)
    there = [record.offset for record in await bed.data(bed.target, way.target, 0) if record.offset >= before]
    translator = Translator(bed.source, bed.target)
    for translates in (translator, translator, Translator(bed.source, bed.target)):
        found = [await translates.by_header(way, position, offset) for offset in range(13)]
        assert [sum(each < place for each in there) for place in found] == list(range(13))
        assert min(found) >= before
    await bed.fill(topic, 10)
    await bed.trim(bed.source, topic, 0, 15)  # 12 to 14 are never shipped
    async with bed.link(bed.settings()):
        await until(lambda: bed.last_is(topic, 21), "what is left is shipped")
    position = await bed.position(topic)
    there = [record.offset for record in await bed.data(bed.target, way.target, 0) if record.offset >= before]
    found = [await translator.by_header(way, position, offset) for offset in (0, 5, 11, 12, 13, 15, 16, 22)]
    assert [sum(each < place for each in there) for place in found] == [0, 5, 11, 12, 12, 12, 13, 19]
