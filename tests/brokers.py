"""The stack's Kafka in other settings than the stack's: more listeners, one of them behind a relay, several nodes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.brokers import Extended
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Command
from headwater.transport.kafka_batch import KafkaSettings
from tests.proxy import Proxy


@dataclass(frozen=True)
class Node(Extended):
    """A node of a cluster of several: the stack's template knows one node, whose id and cluster id are replaced."""

    node: int = field(kw_only=True)
    cluster_id: str = field(kw_only=True)

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """As the stack, then the identity."""
        command = super().prepare(folder, ports)
        directory = _id16(f"{self.cluster_id}/{self.node}")
        lines = ("version=1", f"cluster.id={self.cluster_id}", f"node.id={self.node}", f"directory.id={directory}")
        (folder / "data" / "meta.properties").write_text("\n".join((*lines, "")))
        return command


_TOGETHER = """\
node.id={node}
controller.quorum.voters={voters}
offsets.topic.replication.factor={count}
transaction.state.log.replication.factor={count}
transaction.state.log.min.isr=2
min.insync.replicas=2
"""


def nodes(tools: KafkaTools, name: str, controllers: Mapping[int, int]) -> list[Node]:
    """The nodes of one cluster, each broker and controller (so that any one may die); `controllers`: port by node.

    Internal topics are replicated to all, so a node that answers has seen the others. A replicated partition takes
    writes while two of its replicas are in sync.
    """
    voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in controllers.items())
    return [
        Node(
            KafkaService(node_name(name, node), lambda: tools, options=("-Xmx160m",)),
            _TOGETHER.format(node=node, voters=voters, count=len(controllers)),
            node=node,
            cluster_id=_id16(name),
        )
        for node in controllers
    ]


def node_name(cluster: str, node: int) -> str:
    """Name of a node's service."""
    return f"{cluster}-{node}"


def _id16(of: str) -> str:
    """16 bytes in URL-safe base64 (KIP-631), the same each time."""
    return base64.urlsafe_b64encode(hashlib.sha256(of.encode()).digest()[:16])[:22].decode()


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
