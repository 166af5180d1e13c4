"""What is read of a log for an anchor and for a comparison."""

from __future__ import annotations

from headwater.transport.kafka_batch import encode
from replicator import logs
from replicator.logs import Start
from tests.replicator.bed import Bed, numbered


async def test_a_count_ends_within_a_batch_that_was_shipped_in_part(bed: Bed) -> None:
    """A batch that was cut on its way may be at the target up to its middle: the rest of it is not counted."""
    topic = await bed.topic(partitions=1)
    await bed.write(topic, 0, encode([numbered(n) for n in range(5)]), encode([numbered(n) for n in range(5, 15)]))
    counted = await logs.count_on(bed.source, bed.settings().way(topic, 0), Start(2, 0), 1 << 62, 9)
    assert (counted.offset, counted.count) == (9, 7)
