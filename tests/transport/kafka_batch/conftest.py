"""A Kafka broker that listens in every way that we speak: plain, TLS, SASL over TLS, and behind a relay."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Command, Runner
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, KafkaSettings
from headwater.transport.retry import retrying

_JAAS = "org.apache.kafka.common.security"
_MORE = """\
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl},RELAY://127.0.0.1:{relay}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},SSL://127.0.0.1:{tls},SASL_SSL://127.0.0.1:{sasl},RELAY://127.0.0.1:{proxy}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,RELAY:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location={pem}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl_ssl.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.sasl_ssl.connections.max.reauth.ms=2000
"""


@dataclass(frozen=True)
class ManyDoors:
    """The stack's Kafka with further listeners."""

    inner: KafkaService
    pem: Path
    port_names: tuple[str, ...] = ("client", "controller", "tls", "sasl", "relay", "proxy")

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
            file.write(_MORE.format(**ports, pem=self.pem, jaas=_JAAS, user="plain", password="secret"))
        return command

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it is ready."""
        return self.inner.answers(ports)


@dataclass(frozen=True)
class Doors:
    """Where each listener is; `certificate` is its own authority."""

    runner: Runner
    service: ManyDoors
    ports: Mapping[str, int]
    certificate: Path

    @property
    def plain(self) -> KafkaSettings:
        """Neither TLS nor login."""
        return KafkaSettings(brokers=f"127.0.0.1:{self.ports['client']}")

    @property
    def relayed(self) -> KafkaSettings:
        """Through a relay that the test puts between port `relay` and the advertised port `proxy`."""
        return KafkaSettings(brokers=f"127.0.0.1:{self.ports['proxy']}", request_timeout_s=3.0)


def _certificate(path: Path) -> None:
    """A key and a certificate for localhost, signed by itself, valid for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
    signed = built.add_extension(names, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="session")
def doors(service_runner: Runner, kafka_tools: KafkaTools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A real broker with all listeners, shared by this folder's tests; kill it, but leave it running."""
    pem = tmp_path_factory.mktemp("tls") / "broker.pem"
    _certificate(pem)
    service = ManyDoors(KafkaService("doors", lambda: kafka_tools), pem)
    service_runner.start(service)
    yield Doors(service_runner, service, service_runner.ports(service), pem)
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
