"""A source whose batches change between two lives: merged, cut, compressed anew, at the same offsets."""

from __future__ import annotations

import random
import struct
from functools import partial
from pathlib import Path

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Record, batches, encode, records
from headwater.transport.kafka_batch.compression import Codec
from headwater.transport.retry import retrying
from replicator.verify import verify_link
from tests.brokers import Relayed
from tests.replicator.bed import Bed, until
from tests.replicator.silence import segments
from tests.services import Broker

HOW: dict[str, tuple[int, Codec]] = {  # most records of a new batch, and its codec
    "merged": (64, "lz4"),
    "cut": (1, "none"),
    "otherwise": (7, "zstd"),
    "trimmed": (25, "lz4"),
}
LIVES, MORE = 2, 60


def rewrite(segment: Path, most: int, codec: Codec, rng: random.Random) -> None:
    """Have the records of a file of a log in other batches, at their offsets."""
    raw = segment.read_bytes()
    found: list[Record] = [each for batch in batches(memoryview(raw)) for each in records(batch)]
    epoch = raw[12:16]
    made = bytearray()
    while found:
        count = rng.randint(1, most)
        taken, found = found[:count], found[count:]
        batch = encode([Out(each.key, each.value, each.headers, each.timestamp_ms) for each in taken], codec=codec)
        struct.pack_into(">q", batch, 0, taken[0].offset)
        batch[12:16] = epoch  # neither is under the checksum
        made += batch
    segment.write_bytes(made)
    for index in segment.parent.glob("*.*index"):
        index.unlink()


async def test_batches_that_change_between_two_lives_cost_nothing(
    private_kafka: Broker, cloud: Relayed, unique: str, tmp_path: Path
) -> None:
    """No gap, nothing lost or doubled: a sequence is the number of a record, and logs are known by their records.

    The second life dies without a word, and of one log retention has taken what was shipped first, so that it cannot be
    counted or compared from its beginning.
    """
    edge = KafkaSettings(brokers=private_kafka.bootstrap, request_timeout_s=3.0)
    async with Cluster(edge, client_id="tests") as source, Cluster(cloud.plain, client_id="tests") as target:
        bed, rng = Bed(unique[-30:].strip("-"), source, target, tmp_path / "log"), random.Random(11)
        topics = {await bed.topic(stem, partitions=1): how for stem, how in HOW.items()}
        trimmed = list(topics)[-1]
        for life in range(LIVES):
            for topic in topics:
                await bed.fill(topic, MORE, batch=10)
            if life % 2:
                await bed.ship_and_die()
            else:
                async with bed.link(bed.settings()):
                    for topic in topics:
                        await until(
                            lambda topic=topic, end=(life + 1) * MORE: bed.ends_at(topic, 0, end), "all is shipped"
                        )
            if not life:
                await bed.trim(bed.source, trimmed, 0, 25)
            private_kafka.stop()
            for topic, how in topics.items():
                for segment in segments(private_kafka.runner, private_kafka.name, topic):
                    rewrite(segment, *how, rng)
            private_kafka.start()
            for topic in topics:
                await retrying("the source is back", partial(source.offsets, topic, "latest"), deadline_s=20)
        async with bed.link(bed.settings()):
            for topic in topics:
                await bed.fill(topic, MORE, batch=10)
                await until(
                    lambda topic=topic: bed.holds(remote(bed.site, topic), (LIVES + 1) * MORE), "the rest is shipped"
                )
        for topic in topics:
            assert await bed.arrived(topic) == list(range((LIVES + 1) * MORE)), topic
        assert await bed.gaps() == []
        assert all(each.agrees and not each.waiting for each in await verify_link(bed.settings()))
