"""One site's topics in a real cloud cluster, filled as the replicator fills them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from headwater.contract import headers, messages, topics
from headwater.contract.messages import Alarm
from headwater.contract.reading import encode as encode_reading
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, codes, encode
from headwater.transport.retry import retrying
from tests.cloud_trainer.plant import Rows

CLASS = ((headers.CLASS, b"pump"),)


class Cloud:
    """`site` must be a name of the test's own; readings of an asset go to the partition of its number."""

    def __init__(self, brokers: str, site: str, cluster: Cluster) -> None:
        self.settings = KafkaSettings(brokers=brokers)
        self.site = site
        self.cluster = cluster
        self.readings = topics.remote(site, topics.READINGS)
        self.alarms = topics.remote(site, topics.ALARMS)

    @classmethod
    async def open(cls, brokers: str, site: str) -> Cloud:
        """Make the topics of the site and of the cloud."""
        cluster = Cluster(KafkaSettings(brokers=brokers), client_id="test")
        await cluster.connect()
        cloud = cls(brokers, site, cluster)
        specs = [TopicSpec(cloud.readings, 2), TopicSpec(cloud.alarms, 2), *topics.cloud_topics()]
        await asyncio.to_thread(ensure_topics, cloud.settings, specs)
        return cloud

    async def put(self, topic: str, partition: int, outs: Sequence[Out]) -> None:
        """Write records in batches of 100."""
        for i in range(0, len(outs), 100):
            batch = encode(outs[i : i + 100], codec="lz4")

            async def write(batch: bytes | bytearray = batch) -> None:
                answers = await self.cluster.produce([(topic, partition, batch)])
                codes.check(answers[0].error, "writing")  # a topic made a moment ago may not be known to all

            await retrying("writing", write, deadline_s=10, first_s=0.02)

    async def send(self, asset: str, rows: Rows, of_class: bytes = b"pump") -> None:
        """Readings of one asset."""
        given = ((headers.CLASS, of_class),)
        outs = [Out(asset.encode(), encode_reading(t, values), given, now_ms()) for t, values in rows]
        await self.put(self.readings, int(asset.rpartition("-")[2]) % 2, outs)

    async def raw(self, key: bytes | None, value: bytes, given: headers.Headers = CLASS) -> None:
        """One record of readings as it is, in partition 0."""
        await self.put(self.readings, 0, [Out(key, value, given, now_ms())])

    async def alarm(self, asset: str, episode: str, state: str, t: int) -> None:
        """One end of an episode."""
        fields = {"score": 9.0, "threshold": 2.0, "peak": 9.0, "version": 1, "channels": [], "raised_at": now_ms()}
        alarm = Alarm(self.site, asset, "pump", episode, state, t, **fields)  # type: ignore[arg-type]  # of the types that the fields have
        await self.put(self.alarms, 0, [Out(episode.encode(), messages.encode(alarm), (), now_ms())])

    async def forget(self, topic: str, partition: int, before: int) -> None:
        """Let retention take the records before an offset."""
        admin = AdminClient({"bootstrap.servers": self.settings.brokers})
        for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
            await asyncio.to_thread(future.result, 10)


def now_ms() -> int:
    return int(time.time() * 1000)
