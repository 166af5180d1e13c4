"""The stack's Kafka in other settings than the stack's: more listeners, one of them behind a relay, several nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headwater.app.stack.kafka import KafkaService
from headwater.app.stack.runner import Command
from headwater.transport.kafka_batch import KafkaSettings
from tests.proxy import Proxy


@dataclass(frozen=True)
class Extended:
    """The stack's Kafka with more lines of configuration (a later line wins); `{client}` in them is that port."""

    inner: KafkaService
    more: str
    more_ports: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def kind(self) -> str:
        return self.inner.kind

    @property
    def port_names(self) -> tuple[str, ...]:
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


def relayed(inner: KafkaService, more: str = "", **listeners: str) -> Extended:
    """A broker with a listener on port `relay` that advertises port `proxy`, and further ones, each with its protocol.

    The port of a further listener has the listener's name.
    """
    protocols = {"client": "PLAINTEXT", "controller": "PLAINTEXT", "relay": "PLAINTEXT", **listeners}
    names = {name: "PLAINTEXT" if name == "client" else name.upper() for name in protocols}
    advertised = {name: "proxy" if name == "relay" else name for name in protocols if name != "controller"}
    lines = {
        "listeners": [f"{names[name]}://127.0.0.1:{{{name}}}" for name in protocols],
        "advertised.listeners": [f"{names[name]}://127.0.0.1:{{{port}}}" for name, port in advertised.items()],
        "listener.security.protocol.map": [f"{names[name]}:{protocol}" for name, protocol in protocols.items()],
    }
    text = "".join(f"{key}={','.join(values)}\n" for key, values in lines.items())
    return Extended(inner, text + more, ("relay", "proxy", *listeners))


@dataclass(frozen=True)
class Relayed:
    """Where the listeners of a `relayed` broker are."""

    ports: Mapping[str, int]
    patience_s: float = 4.0

    @property
    def plain(self) -> KafkaSettings:
        """Straight to the broker, neither TLS nor login."""
        return KafkaSettings(brokers=f"127.0.0.1:{self.ports['client']}")

    @property
    def relayed(self) -> KafkaSettings:
        """Through the relay, which the test must start."""
        return KafkaSettings(brokers=f"127.0.0.1:{self.ports['proxy']}", request_timeout_s=self.patience_s)

    def proxy(self) -> Proxy:
        """That relay."""
        return Proxy(("127.0.0.1", self.ports["relay"]), self.ports["proxy"])
