"""Two real clusters of one node each, with a plain and a TLS door."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.runner import Command, Runner
from headwater.transport.kafka_batch import KafkaSettings

_PREFIX = "headwater-bench-"
# The stack's brokers compile little, to start quickly; these are to be quick in the long run.
_JVM = ("-Xmx1g", "-Xms1g", "-XX:TieredStopAtLevel=4", "-XX:+UseParallelGC", "-XX:-UseSerialGC")
_MORE = """\
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller},SSL://127.0.0.1:{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},SSL://127.0.0.1:{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={pem}
"""


@dataclass(frozen=True)
class Broker:
    """The stack's Kafka with one more listener."""

    inner: KafkaService
    pem: Path
    kind: str = "Kafka"
    port_names: tuple[str, ...] = ("client", "controller", "tls")

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.inner.name

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Write the stack's configuration and ours behind it: a later line wins."""
        command = self.inner.prepare(folder, ports)
        with (folder / "server.properties").open("a") as file:
            file.write(_MORE.format(**ports, pem=self.pem))
        return command

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it is ready."""
        return self.inner.answers(ports)


@dataclass(frozen=True)
class Ends:
    """Addresses of a cluster, and the certificate of its TLS door, which is its own authority."""

    plain: str
    tls: str
    pem: Path

    def settings(self, *, tls: bool) -> KafkaSettings:
        """How to reach it."""
        if tls:
            return KafkaSettings(brokers=self.tls, tls=True, ca_file=self.pem)
        return KafkaSettings(brokers=self.plain)


@dataclass
class Bed:
    """Both clusters, the tools that they run on, and a folder that goes at the end."""

    folder: Path
    tools: KafkaTools
    source: Ends
    target: Ends
    runs: int = 0

    def fresh(self, stem: str) -> str:
        """A name that no run before has used."""
        self.runs += 1
        return f"{stem}{self.runs:03d}"


@contextmanager
def open_bed(progress: Callable[[str], None]) -> Iterator[Bed]:
    """Start both clusters; stop them at the end."""
    tools = prepare_kafka(progress)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    runner = Runner(folder)
    pem = folder / "broker.pem"
    certificate(pem)
    try:
        ends = []
        for name in ("edge", "cloud"):
            broker = Broker(KafkaService(name, lambda: tools, options=_JVM), pem)
            runner.start(broker)
            ports = runner.ports(broker)
            ends.append(Ends(f"127.0.0.1:{ports['client']}", f"127.0.0.1:{ports['tls']}", pem))
        yield Bed(folder, tools, source=ends[0], target=ends[1])
    finally:
        process.stop(folder, grace_s=5.0)
        shutil.rmtree(folder, ignore_errors=True)


def certificate(path: Path) -> None:
    """A key and a certificate for this machine, signed by itself, valid for a day."""
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
