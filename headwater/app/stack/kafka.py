"""One Apache Kafka cluster of one node: configuration, command line, and the question that shows it ready."""

from __future__ import annotations

import base64
import shutil
import socket
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.app.stack.java import Java
from headwater.app.stack.runner import Command
from headwater.contract.errors import BadInput

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
# Retention goes by record time: recordings from years ago would be deleted within minutes.
log.retention.ms=-1
# A killed broker may register again only when its former session has run out (9 s by default).
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=250
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
"""
# Small and quick to start rather than quick in the long run; measured in docs/adr/local-stack.md.
_JVM = (
    "-Xmx256m",
    "-Xms64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dlog4j2.level=WARN",
    "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.core.impl.Log4jContextFactory",
)


@dataclass(frozen=True, slots=True)
class KafkaTools:
    """What every cluster shares: runtime, jars, archives of loaded classes, a formatted data folder."""

    java: Java
    class_path: str
    archives: tuple[Path, ...]
    template: Path
    repository: Path

    def command(self, *program: str, options: Sequence[str] = (), archived: bool = True) -> list[str]:
        """A Java command line; `program` is the main class and its arguments."""
        shared = [f"-XX:SharedArchiveFile={':'.join(map(str, self.archives))}"] if archived and self.archives else []
        # Java 24 and newer warn of memory access that Kafka 4.3 still uses (JEP 498).
        quiet = ["--sun-misc-unsafe-memory-access=allow"] if self.java.major >= 24 else []
        return [str(self.java.program), *_JVM, *quiet, *shared, *options, "-cp", self.class_path, *program]


@dataclass(frozen=True, slots=True)
class KafkaService:
    """The cluster `name`; `tools` is asked at its start, `options` are further options of its Java machine."""

    name: str
    tools: Callable[[], KafkaTools]
    options: tuple[str, ...] = ()
    kind: str = "Kafka"
    port_names: tuple[str, ...] = ("client", "controller")

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """Write `server.properties`, and at the first start a data folder with a cluster id of its own."""
        tools = self.tools()
        data = folder / "data"
        if not (data / "meta.properties").exists():
            shutil.rmtree(data, ignore_errors=True)
            fresh = folder / "data.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(tools.template, fresh)
            (fresh / "meta.properties").write_text(_meta_properties())
            fresh.rename(data)  # whole or not at all
        properties = folder / "server.properties"
        properties.write_text(write_properties(data, ports))
        options = (f"-XX:ErrorFile={folder}/java-error-%p.log", *self.options)
        return Command(tools.command("kafka.Kafka", str(properties), options=options))

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Whether it is in its own metadata, coordinates groups and gives out producer ids, so that no client waits."""
        with socket.create_connection(("127.0.0.1", ports["client"]), timeout=2) as connection:
            connection.settimeout(2)
            metadata = _ask(connection, 3, 1, struct.pack(">i", 0))
            if struct.unpack(">i", metadata[:4])[0] < 1:
                return False
            coordinator = _ask(connection, 10, 0, struct.pack(">h", 9) + b"headwater")
            producer_id = _ask(connection, 22, 0, struct.pack(">hi", -1, 1000))
            return coordinator[:2] == producer_id[4:6] == b"\0\0"


def write_properties(data: Path, ports: Mapping[str, int]) -> str:
    """The node's configuration; BadInput when its folder's name cannot be written there."""
    if "," in str(data) or "\\" in str(data):
        raise BadInput(f"Kafka cannot keep data in {data}: comma or backslash in the name", hint="use another folder")
    return _PROPERTIES.format(client=ports["client"], controller=ports["controller"], data=data)


def _meta_properties() -> str:
    # Two clusters from one template must not share their ids (KIP-631: ids are 16 bytes in URL-safe base64).
    cluster, directory = (base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode() for _ in range(2))
    return f"version=1\ncluster.id={cluster}\nnode.id=1\ndirectory.id={directory}\n"


def _ask(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    """One request of Kafka's protocol (length, api, version, correlation, client id); OSError when cut short."""
    request = struct.pack(">hhih", api, version, 1, 9) + b"headwater" + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", _read(connection, 4))
    return _read(connection, min(length, 65_536))[4:]


def _read(connection: socket.socket, length: int) -> bytes:
    content = b""
    while len(content) < length:
        chunk = connection.recv(length - len(content))
        if not chunk:
            raise ConnectionError("the connection was closed in the middle of an answer")
        content += chunk
    return content
