"""Sites for the tests of the bridge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.contract.topics import edge_topics
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch.settings import KafkaSettings
from tests.edge_agent.box import Edge
from tests.services import Broker, Mqtt


@pytest.fixture
def edge(kafka: str, mosquitto: Mqtt, unique: str, tmp_path: Path) -> Iterator[Edge]:
    """A site on the shared brokers."""
    ensure_topics(KafkaSettings(brokers=kafka), edge_topics())
    found = Edge(unique, tmp_path, kafka, mosquitto.port)
    yield found
    found.bridge.kill()


@pytest.fixture
def private_edge(private_kafka: Broker, mosquitto: Mqtt, unique: str, tmp_path: Path) -> Iterator[Edge]:
    """A site with a Kafka cluster that may be killed."""
    ensure_topics(KafkaSettings(brokers=private_kafka.bootstrap), edge_topics())
    found = Edge(unique, tmp_path, private_kafka.bootstrap, mosquitto.port)
    yield found
    found.bridge.kill()
