"""The clusters of the local stack."""

from __future__ import annotations

import uuid

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.services import Broker


def test_a_started_cluster_takes_topics_producers_and_groups_at_once(kafka: str, unique: str) -> None:
    """Ready means ready: no retry is needed for the first topic, producer id and group."""
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(unique, 2, 1)])[unique].result(10)
    producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True})
    for number in range(10):
        producer.produce(unique, b"%d" % number, partition=number % 2)
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    consumer.subscribe([unique])
    got = consumer.consume(10, timeout=20)
    consumer.close()
    assert sorted(message.value() for message in got) == [b"%d" % number for number in range(10)]


def test_two_clusters_have_ids_of_their_own(kafka_pair: tuple[str, str]) -> None:
    """Clusters copied from one formatted template can be told apart."""
    ids = {AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).cluster_id for bootstrap in kafka_pair}
    assert len(ids) == 2


def test_a_killed_cluster_keeps_acknowledged_records_and_its_port(private_kafka: Broker, unique: str) -> None:
    """After SIGKILL and a restart the same address serves what was acknowledged."""
    admin = AdminClient({"bootstrap.servers": private_kafka.bootstrap})
    admin.create_topics([NewTopic(unique, 1, 1)])[unique].result(10)
    producer = Producer({"bootstrap.servers": private_kafka.bootstrap, "acks": "all"})
    producer.produce(unique, b"kept")
    assert producer.flush(10) == 0
    private_kafka.kill()
    private_kafka.start()
    consumer = Consumer(
        {"bootstrap.servers": private_kafka.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([unique])
    message = consumer.poll(20)
    consumer.close()
    assert message is not None
    assert message.value() == b"kept"
