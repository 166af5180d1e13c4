"""A compacted topic of one partition that is written without a fence."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.contract.topics import COMPACT, TopicSpec
from headwater.transport.kafka_batch import Cluster, Out, codes, encode
from headwater.transport.kafka_batch.administration import create_topic
from replicator.engine import now_ms

_BY_DEFAULT = -1  # copies of a topic as the brokers have it set (KIP-464)


class PlainTopic:
    """For records of which the newest of each key counts, and of which an old one written late is soon replaced."""

    def __init__(self, cluster: Cluster, name: str, copies: int = _BY_DEFAULT) -> None:
        self.name = name
        self._cluster = cluster
        self._copies = copies

    async def make(self) -> None:
        """Create it unless it exists; raises as `create_topic`."""
        await create_topic(self._cluster, TopicSpec(self.name, 1, COMPACT), replication_factor=self._copies)

    async def write(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Write keys and values; Transient where it may or may not be written."""
        now = now_ms()
        batch = encode([Out(key, value, (), now) for key, value in pairs])
        answer = (await self._cluster.produce([(self.name, 0, batch)]))[0]
        codes.check(answer.error, f"writing to {self.name}", answer.detail)
