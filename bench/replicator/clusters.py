"""Two real clusters of one node each, with a plain and a TLS door."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.brokers import Extended, certificate
from headwater.app.stack import process
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.kafka_tools import prepare_kafka
from headwater.app.stack.runner import Runner
from headwater.transport.kafka_batch import KafkaSettings

_PREFIX = "headwater-bench-"
# The stack's brokers compile little, to start quickly; these are to be quick in the long run.
_JVM = ("-Xmx1g", "-Xms1g", "-XX:TieredStopAtLevel=4", "-XX:+UseParallelGC", "-XX:-UseSerialGC")
_MORE = """\
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller},SSL://127.0.0.1:{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},SSL://127.0.0.1:{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location="""


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
            broker = Extended(KafkaService(name, lambda: tools, options=_JVM), f"{_MORE}{pem}\n", ("tls",))
            runner.start(broker)
            ports = runner.ports(broker)
            ends.append(Ends(f"127.0.0.1:{ports['client']}", f"127.0.0.1:{ports['tls']}", pem))
        yield Bed(folder, tools, source=ends[0], target=ends[1])
    finally:
        process.stop(folder, grace_s=5.0)
        shutil.rmtree(folder, ignore_errors=True)
