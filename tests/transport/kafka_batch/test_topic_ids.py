"""Topics are told apart by their ids."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AdminClient

from headwater.contract.errors import Transient
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.topic_ids import topic_id
from headwater.transport.retry import retrying


async def test_a_topic_made_again_has_another_id(cluster: Cluster, kafka: str, unique: str) -> None:
    """The same name, the same number of partitions, another topic."""
    found = []
    for _ in range(2):
        await create_topic(cluster, TopicSpec(unique, 2))
        found.append(await topic_id(cluster, unique))
        assert await topic_id(cluster, unique) == found[-1]
        admin = AdminClient({"bootstrap.servers": kafka})
        for future in admin.delete_topics([unique]).values():
            future.result(10)
        await retrying("waiting for the end of the topic", lambda: _gone(cluster, unique), deadline_s=10, first_s=0.02)
    assert len(set(found)) == 2
    assert all(len(bytes.fromhex(each)) == 16 for each in found)


async def _gone(cluster: Cluster, topic: str) -> None:
    try:
        await topic_id(cluster, topic)
    except Transient:
        return
    raise Transient("it is still there")


async def test_a_topic_that_does_not_exist_has_none(cluster: Cluster, unique: str) -> None:
    """It may come yet."""
    with pytest.raises(Transient, match="UNKNOWN_TOPIC_OR_PARTITION"):
        await topic_id(cluster, unique)
