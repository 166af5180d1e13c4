"""Consumer groups that stand still, which most of them do most of the time."""

from __future__ import annotations

from headwater.transport.kafka_batch import Cluster, Out
from headwater.transport.kafka_batch.meter import Meter
from replicator.mm2.translate import Translator
from tests.replicator.bed import Bed


async def test_a_group_that_stands_still_costs_the_link_next_to_nothing(bed: Bed) -> None:
    """What was looked up once at the target is known, by bytes on the wire; a new offset is looked up."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact")
    for number in range(200):
        bed.produce(topic, [Out(b"%d" % number, bytes(2_000), (), 1)])
    await bed.ship()
    way, position = bed.settings().way(topic, 0), await bed.position(topic)
    meter = Meter()
    async with Cluster(bed.target.settings, client_id="metered", meter=meter) as target:
        translator = Translator(bed.source, target)
        first = await translator.by_header(way, position, 70)
        before = meter.carried
        assert [await translator.by_header(way, position, 70) for _ in range(5)] == [first] * 5
        known = meter.carried
        assert await translator.by_header(way, position, 130) == first + 60
        assert known - before < 5 * 1_500  # where the log begins and ends is asked
        assert meter.carried - known > 12_000
