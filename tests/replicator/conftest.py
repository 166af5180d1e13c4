"""Two clusters, and a link between them that a test can start, stop and kill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Command, Runner
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from tests.replicator.bed import Bed

_MORE = """\
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller},RELAY://127.0.0.1:{relay}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},RELAY://127.0.0.1:{proxy}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,RELAY:PLAINTEXT
producer.id.expiration.check.interval.ms=100
log.retention.check.interval.ms=200
"""


@dataclass(frozen=True)
class Relayed:
    """The stack's Kafka with a second listener, whose advertised port belongs to a relay of the test."""

    inner: KafkaService
    port_names: tuple[str, ...] = ("client", "controller", "relay", "proxy")

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def kind(self) -> str:
        return self.inner.kind

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Write the stack's configuration and more."""
        command = self.inner.prepare(folder, ports)
        with (folder / "server.properties").open("a") as file:
            file.write(_MORE.format(**ports))
        return command

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it is ready."""
        return self.inner.answers(ports)


@dataclass(frozen=True)
class Cloud:
    """The target cluster of this folder's tests. `relayed`: through a relay from port `proxy` to port `relay`."""

    ports: Mapping[str, int]

    @property
    def plain(self) -> KafkaSettings:
        """Straight to the broker."""
        return KafkaSettings(brokers=f"127.0.0.1:{self.ports['client']}")

    @property
    def relayed(self) -> KafkaSettings:
        """Through the relay, which the test must start."""
        return KafkaSettings(brokers=f"127.0.0.1:{self.ports['proxy']}", request_timeout_s=4.0)


@pytest.fixture(scope="session")
def cloud(service_runner: Runner, kafka_tools: KafkaTools) -> Iterator[Cloud]:
    """A real broker that these tests ship to."""
    service = Relayed(KafkaService("replicator-cloud", lambda: kafka_tools))
    service_runner.start(service)
    yield Cloud(service_runner.ports(service))
    service_runner.stop(service.name, grace_s=2.0)


@pytest.fixture
async def bed(kafka: str, cloud: Cloud, unique: str, tmp_path: Path) -> AsyncIterator[Bed]:
    """A site of this test alone: the shared cluster is its edge, `cloud` its target."""
    edge = KafkaSettings(brokers=kafka)
    async with Cluster(edge, client_id="tests") as source, Cluster(cloud.plain, client_id="tests") as target:
        log = tmp_path / "replicator.log"
        yield Bed(unique[-30:].strip("-"), source, target, log)
        if log.exists():
            print(log.read_text())  # shown when the test fails
