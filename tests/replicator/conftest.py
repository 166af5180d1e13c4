"""Two clusters, and a link between them that a test can start, stop and kill."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from tests.brokers import Relayed, relayed
from tests.replicator.bed import Bed

_EAGER = """\
producer.id.expiration.check.interval.ms=100
log.retention.check.interval.ms=200
"""


@pytest.fixture(scope="session")
def cloud(service_runner: Runner, kafka_tools: KafkaTools) -> Iterator[Relayed]:
    """A real broker that these tests ship to."""
    service = relayed(KafkaService("replicator-cloud", lambda: kafka_tools), _EAGER)
    service_runner.start(service)
    yield Relayed(service_runner.ports(service))
    service_runner.stop(service.name, grace_s=2.0)


@pytest.fixture
async def bed(kafka: str, cloud: Relayed, unique: str, tmp_path: Path) -> AsyncIterator[Bed]:
    """A site of this test alone: the shared cluster is its edge, `cloud` its target."""
    edge = KafkaSettings(brokers=kafka)
    async with Cluster(edge, client_id="tests") as source, Cluster(cloud.plain, client_id="tests") as target:
        log = tmp_path / "replicator.log"
        yield Bed(unique[-30:].strip("-"), source, target, log)
        if log.exists():
            print(log.read_text())  # shown when the test fails
