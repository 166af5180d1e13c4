"""The stack's Kafka in other settings than the stack's, and a certificate for one of its doors."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headwater.app.stack.kafka import KafkaService
from headwater.app.stack.runner import Command


@dataclass(frozen=True)
class Extended:
    """The stack's Kafka with more lines of configuration (a later line wins); `{client}` in them is that port."""

    inner: KafkaService
    more: str
    more_ports: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the service."""
        return self.inner.name

    @property
    def kind(self) -> str:
        """What it is."""
        return self.inner.kind

    @property
    def port_names(self) -> tuple[str, ...]:
        """Ports that it listens on."""
        return (*self.inner.port_names, *self.more_ports)

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Write the stack's configuration and more."""
        command = self.inner.prepare(folder, ports)
        with (folder / "server.properties").open("a") as file:
            file.write(self.more.format(**ports))
        return command

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it is ready."""
        return self.inner.answers(ports)


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
