"""Logs that a Kafka before 0.11 wrote, served by today's broker: it reads these formats still, and writes them no more.

The files are put in the place of a topic's log while the broker is down, as an update in place leaves them.
"""

from __future__ import annotations

import gzip
from pathlib import Path

from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from tests.brokers import Relayed
from tests.replicator.bed import Bed, until
from tests.replicator.silence import flip, notices
from tests.services import Broker
from tests.transport.kafka_batch.test_old_formats import entry


def old_log() -> bytes:
    """Twelve messages: format 0, format 1, and a wrapper of each, the older one thinned by compaction."""
    plain = [entry(n, b"%d v" % n, key=b"k", magic=0) for n in range(3)]
    plain += [entry(n, b"%d v" % n, key=b"k%d" % n, stamp=1_500_000_000_000 + n) for n in range(3, 6)]
    thinned = b"".join(entry(n, b"%d v" % n, magic=0) for n in (6, 8))
    relative = b"".join(entry(n, b"%d v" % (9 + n), stamp=1_500_000_000_009 + n) for n in range(3))
    wrapped = [entry(8, gzip.compress(thinned), magic=0, codec=1)]
    wrapped += [entry(11, gzip.compress(relative), stamp=1_500_000_000_011, codec=1)]
    return b"".join(plain + wrapped)


def replace_log(broker: Broker, topic: str, content: bytes) -> Path:
    """Put these bytes in the place of what the stopped broker has of a topic."""
    folder = broker.runner.folder / broker.name / "data" / f"{topic}-0"
    for stale in [*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")]:
        stale.unlink()
    (segment,) = folder.glob("*.log")
    segment.write_bytes(content)
    return segment


async def test_old_formats_are_shipped_and_what_follows_them(
    private_kafka: Broker, cloud: Relayed, unique: str, tmp_path: Path
) -> None:
    """Offsets decide the order, format 0 has no times, a hole stays one, and a flipped bit is a gap like any other."""
    async with Cluster(cloud.plain, client_id="tests") as target:
        async with Cluster(KafkaSettings(brokers=private_kafka.bootstrap), client_id="tests") as source:
            bed = Bed(unique[-30:].strip("-"), source, target, tmp_path / "log")
            topic = await bed.topic(partitions=1)
            broken = await bed.topic("broken", partitions=1)
            await bed.fill(topic, 1)
            await bed.fill(broken, 1)
        private_kafka.stop()
        replace_log(private_kafka, topic, old_log())
        replace_log(private_kafka, broken, old_log())
        private_kafka.start()
        flip(private_kafka.runner, private_kafka.name, broken, len(entry(0, b"0 v", key=b"k", magic=0)) - 1)
        async with Cluster(KafkaSettings(brokers=private_kafka.bootstrap), client_id="tests") as source:
            bed.source = source
            for name in (topic, broken):
                await bed.fill(name, 3)
            async with bed.link(bed.settings()):
                await until(lambda: bed.holds(remote(bed.site, topic), 14), "both formats are shipped")
                await until(lambda: bed.holds(remote(bed.site, broken), 13), "around the flipped bit, too")
            found = await bed.data(target, remote(bed.site, topic), 0)
            assert await bed.arrived(topic) == [*range(7), *range(8, 15)]
            dated = 1_500_000_000_000
            assert [record.timestamp_ms for record in found[:11]] == [
                *[-1] * 3,
                *range(dated + 3, dated + 6),
                *[-1] * 2,
                *range(dated + 9, dated + 12),
            ]
            assert await bed.arrived(broken) == [*range(1, 7), *range(8, 15)]
            assert [(said.topic, said.cause, said.first, said.last) for said in await notices(bed)] == [
                (broken, "corrupt", 0, 0)
            ]
            await bed.fill(topic, 2)
            await bed.ship_and_die_at(topic, 0, 16)
            async with bed.link(bed.settings()):
                await bed.fill(topic, 1)
                await until(lambda: bed.ends_at(topic, 0, 17), "the next life finds its place")
            assert await bed.arrived(topic) == [*range(7), *range(8, 18)]
