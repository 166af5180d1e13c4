"""One site in a test: its settings, its bridge in a process of its own, and what arrived in its topics."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from headwater.contract import headers, topics
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.kafka_batch.records import Record
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.retry import retrying

ALL = 1_000_000
_MAIN = "from edge_agent.parts import main; sys.exit(main(sys.argv[1:]))"


class Process:
    """One part of the edge in a process, under settings of its own; killed when the test ends."""

    def __init__(self, folder: Path, environment: dict[str, str], part: str = "bridge") -> None:
        self.folder = folder
        self.before = ""  # Python that runs in the process first: how a test takes a guard away
        self._part = part
        self._environment = environment
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
        with (self.folder / f"{self._part}.log").open("ab") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-c", f"import sys\n{self.before}\n{_MAIN}", self._part],
                env=kept | self._environment,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def stop(self, within_s: float = 15.0) -> int:
        """SIGTERM; the exit status."""
        assert self._running is not None
        self._running.terminate()
        return self._running.wait(within_s)

    def ended(self) -> bool:
        return self._running is not None and self._running.poll() is not None

    def log(self) -> str:
        return (self.folder / f"{self._part}.log").read_text()


class Edge:
    """One site: its settings, and what arrived in its topics."""

    def __init__(self, site: str, folder: Path, kafka: str, mqtt_port: int) -> None:
        self.site = site
        self.folder = folder
        self.kafka = KafkaSettings(brokers=kafka)
        self.environment = {
            "HEADWATER_HOME": str(folder),
            "HEADWATER_EDGE__SITE": site,
            "HEADWATER_EDGE__KAFKA__BROKERS": kafka,
            "HEADWATER_EDGE__MQTT__PORT": str(mqtt_port),
        }
        self.bridge = Process(folder, self.environment)

    @property
    def ready_file(self) -> Path:
        return self.folder / "edge" / self.site / "bridge.ready"

    def start(self) -> None:
        """Start the bridge and wait until it is subscribed."""
        self.ready_file.unlink(missing_ok=True)
        self.bridge.start()
        wait_for(self.ready_file.exists, lambda: f"the bridge is not ready:\n{self.bridge.log()}")

    async def records(self, topic: str = topics.READINGS) -> list[Record]:
        """All records of this site, in the order of each partition; waits for a Kafka that has just been started."""
        return await retrying("reading", lambda: self._records(topic), deadline_s=20)

    async def _records(self, topic: str) -> list[Record]:
        found = []
        async with Cluster(self.kafka, client_id="test") as cluster:
            for partition in range(await cluster.partitions(topic)):
                tail = await read_tail(cluster, topic, partition, ALL)
                found += [
                    r for r in tail if (headers.find_text(r.headers, headers.MQTT_TOPIC) or "").startswith(self.site)
                ]
        return found

    async def until_records(self, count: int, topic: str = topics.READINGS, within_s: float = 30.0) -> list[Record]:
        """The records once there are at least `count`."""
        end = time.monotonic() + within_s
        while True:
            found = await self.records(topic)
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{len(found)} of {count} records in {topic}:\n{self.bridge.log()[-3000:]}"
            await asyncio.sleep(0.1)


def wait_for(condition: Callable[[], object], what: Callable[[], str], within_s: float = 20.0) -> None:
    """Wait for a condition with a deadline."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
