"""A Kafka broker that listens in every way that we speak: plain, TLS, SASL over TLS, and behind a relay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.brokers import certificate
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.retry import retrying
from tests.brokers import Relayed, relayed

_JAAS = "org.apache.kafka.common.security"
_MORE = f"""\
ssl.keystore.type=PEM
ssl.keystore.location=%s
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl.plain.sasl.jaas.config={_JAAS}.plain.PlainLoginModule required user_plain="secret";
listener.name.sasl.scram-sha-256.sasl.jaas.config={_JAAS}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={_JAAS}.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config={_JAAS}.oauthbearer.OAuthBearerLoginModule required \
  unsecuredLoginStringClaim_sub="broker";
listener.name.sasl.connections.max.reauth.ms=2000
"""


@dataclass(frozen=True, kw_only=True)
class Doors(Relayed):
    """Where each listener is; `certificate` is its own authority."""

    certificate: Path


@pytest.fixture(scope="session")
def doors(service_runner: Runner, kafka_tools: KafkaTools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A real broker with all listeners, shared by this folder's tests."""
    pem = tmp_path_factory.mktemp("tls") / "broker.pem"
    certificate(pem)
    service = relayed(KafkaService("doors", lambda: kafka_tools), _MORE % pem, tls="SSL", sasl="SASL_SSL")
    service_runner.start(service)
    yield Doors(ports=service_runner.ports(service), patience_s=3.0, certificate=pem)
    service_runner.stop("doors", grace_s=2.0)


@pytest.fixture
async def cluster(kafka: str) -> AsyncIterator[Cluster]:
    """A client of the shared broker."""
    async with Cluster(KafkaSettings(brokers=kafka), client_id="tests") as client:
        yield client


@pytest.fixture
async def topic(kafka: str, unique: str, cluster: Cluster) -> str:
    """A topic of this test with four partitions, whose leaders are ready."""
    await make_topic(cluster, unique)
    return unique


async def make_topic(cluster: Cluster, name: str, partitions: int = 4, **configs: str) -> str:
    """Create a topic and wait until each partition has a leader."""
    dotted = {key.replace("_", "."): value for key, value in configs.items()}
    await asyncio.to_thread(ensure_topics, cluster.settings, [TopicSpec(name, partitions, dotted)])
    await retrying("waiting for leaders", lambda: cluster.offsets(name, "latest"), deadline_s=20, first_s=0.02)
    return name


def now_ms() -> int:
    """The time, in ms since 1970."""
    return int(time.time() * 1000)
