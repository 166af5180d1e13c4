"""Each record once on a cluster of three: over the death of a leader, the writer's own, and the leader's return."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from tests.services import Brokers
from tests.transport.kafka_batch.campaign import PARTITIONS, Count, Source, count, life_of, until

MORE = 600  # numbers that are acknowledged between two events


class Placed(NamedTuple):
    """Nodes of a partition."""

    leader: int
    replicas: list[int]
    in_sync: list[int]


def placed(brokers: str, topic: str) -> list[Placed]:
    """Where each partition is."""
    found = AdminClient({"bootstrap.servers": brokers}).list_topics(topic, timeout=10).topics[topic].partitions
    return [Placed(each.leader, each.replicas, each.isrs) for _, each in sorted(found.items())]


async def fed(source: Source, process: asyncio.subprocess.Process) -> None:
    """Feed a life until it has acknowledged some more."""
    goal = source.sent - len(source.unacked) + MORE
    while source.sent - len(source.unacked) < goal:
        assert process.returncode is None, "the writer's process ended"
        await source.feed(process, 0.02)


async def test_a_leader_killed_while_records_are_written_loses_and_doubles_nothing(
    private_kafka_three: Brokers, unique: str
) -> None:
    """SIGKILL for the leader, then for the writer, whose next life fences while the dead broker returns.

    One follower stands still while the leader dies, so that the other, which leads next, has records that nobody
    acknowledged: the writer must send them again, and the new leader must know them.
    """
    topic, brokers, source = unique, private_kafka_three.bootstrap, Source()
    settings = KafkaSettings(brokers=brokers)
    await asyncio.to_thread(ensure_topics, settings, [TopicSpec(topic, PARTITIONS)], replication_factor=3)
    async with asyncio.timeout(90):
        async with life_of(brokers, topic) as process, source.session(process):
            await fed(source, process)
            first = (await asyncio.to_thread(placed, brokers, topic))[0]
            _, last = (node for node in first.replicas if node != first.leader)
            killed, still = private_kafka_three.nodes[first.leader], private_kafka_three.nodes[last]
            still.pause()
            try:
                await source.feed(process, 0.3)
                await asyncio.to_thread(killed.kill)
            finally:
                still.resume()
            await fed(source, process)
            assert (await asyncio.to_thread(placed, brokers, topic))[0].leader != first.leader
            await source.feed(process, 0.05)  # on the road when the writer dies
            before = len(source.unacked)
        assert before
        starting = asyncio.create_task(asyncio.to_thread(killed.start))
        async with life_of(brokers, topic) as process, source.session(process):
            await fed(source, process)
            await starting
            await fed(source, process)
            await until(lambda: not source.unacked)
        await until(lambda: all(len(each.in_sync) == 3 for each in placed(brokers, topic)))
        async with Cluster(settings, client_id="reader") as cluster:
            assert source.redelivered
            assert await count(cluster, topic, source.sent) == Count(source.sent, 0, 0, 0)
