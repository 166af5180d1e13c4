"""What takes longer than a timeout on a slow link is no dead connection."""

from __future__ import annotations

from bench.link.road import Conditions, Link
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import encode
from tests.brokers import Relayed
from tests.replicator.bed import Bed, numbered


async def test_a_record_may_take_longer_than_the_request_timeout(bed: Bed, cloud: Relayed) -> None:
    """A record that is on the link for seven seconds arrives at once, though a request is given up after four."""
    topic = await bed.topic(partitions=1)
    await bed.write(topic, 0, encode([numbered(0, 175_000)]))
    road = Conditions(cloud.ports["proxy"], f"127.0.0.1:{cloud.ports['relay']}", 25_000.0, 0.1)
    assert cloud.relayed.request_timeout_s < 5
    settings = bed.settings(topic).model_copy(update={"target": cloud.relayed})
    async with Link(road) as link, bed.link(settings) as task:
        await bed.shipped(task)
        assert link.counts.up < 1.3 * 175_000
    assert await bed.holds(remote(bed.site, topic), 1)
