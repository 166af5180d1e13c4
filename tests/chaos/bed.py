"""One chapter's services and the system under test between them: MQTT and Kafka behind relays, all of it breakable."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.brokers import Extended
from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Command, Runner
from headwater.contract import topics
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.kafka_batch.records import Record
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.retry import retrying
from tests.brokers import relayed
from tests.chaos.leaders import Leaders, three
from tests.chaos.numbers import Numbers
from tests.chaos.plan import Chapter
from tests.chaos.process import Life, bridge_command
from tests.chaos.quota import limit
from tests.chaos.sparkplug import EdgeNode, numbered, routes
from tests.chaos.supervised import Supervised
from tests.proxy import Proxy
from tests.services import Broker, Mqtt, start_mosquitto

SITE = "chaos"
HEADWATER = "headwater"
STOCK = "paho + confluent-kafka"
_ALL = 10_000_000
_QUOTA = "quota.window.num=2\n"  # a throttled connection waits two seconds at most


@dataclass
class Bed(Supervised):
    """What faults are done to."""

    system: str
    chapter: Chapter
    folder: Path
    kafka: Broker | Leaders
    mqtt: Mqtt
    kafka_road: Proxy
    mqtt_road: Proxy
    numbers: Numbers
    straight: KafkaSettings

    def start(self) -> Life:
        """A new life; of what ran before nothing is asked."""
        ours = self.system == HEADWATER
        argv = bridge_command() if ours else self._stock()
        says = '"bridge ready"' if ours else ""
        self.lives.append(Life(argv, self._settings() if ours else {}, self.folder, says))
        return self.life

    @property
    def sent(self) -> int:
        """Messages so far."""
        return self.numbers.sent

    def pace(self, rate: float) -> None:
        """Messages a second."""
        self.numbers.rate = rate

    def check(self) -> None:
        """Raise what went wrong with the publisher."""
        self.numbers.check()

    async def records(self) -> list[Record]:
        """Everything in `readings`, in the order of each partition."""
        return await retrying("reading", self._records, deadline_s=90)

    async def _records(self) -> list[Record]:
        async with Cluster(self.straight, client_id="count") as cluster:
            count = await cluster.partitions(topics.READINGS)
            tails = [await read_tail(cluster, topics.READINGS, partition, _ALL) for partition in range(count)]
        found = [record for tail in tails for record in tail]
        return [numbered(each) for each in found] if self.chapter.combination.sparkplug else found

    async def ends(self) -> dict[int, int]:
        """Where each partition of `readings` ends."""
        return await retrying("asking for the ends of readings", self._ends, deadline_s=90)

    async def _ends(self) -> dict[int, int]:
        async with Cluster(self.straight, client_id="count") as cluster:
            return await cluster.offsets(topics.READINGS, "latest")

    async def limit(self, bytes_per_s: float | None) -> None:
        """A quota for what the bridge produces; None takes it away."""
        await limit(self.straight, f"bridge-{SITE}", bytes_per_s)

    def _settings(self) -> Mapping[str, str]:
        combination = self.chapter.combination
        found = {
            "HOME": str(self.folder),
            "SITE": SITE,
            "KAFKA__BROKERS": self._kafka_address(),
            "KAFKA__REQUEST_TIMEOUT_S": "3",
            "KAFKA__CONNECT_TIMEOUT_S": "3",
            "MQTT__PORT": str(self.mqtt_road.port),
            "MQTT__PROTOCOL": combination.protocol,
            "MQTT__QOS": str(combination.qos),
            "MQTT__KEEPALIVE_S": "5",
            "MQTT__CONNECT_TIMEOUT_S": "3",
        }
        if combination.ack_after != "kafka":
            found["BRIDGE__ACK_AFTER"] = combination.ack_after
        if combination.sparkplug:
            found["BRIDGE__ROUTES"] = routes(SITE)
        return {f"HEADWATER_{'' if name == 'HOME' else 'EDGE__'}{name}": value for name, value in found.items()}

    def _kafka_address(self) -> str:
        """No relay stands before several brokers."""
        return self.straight.brokers if isinstance(self.kafka, Leaders) else self.kafka_road.address

    def _stock(self) -> list[str]:
        where = [str(self.mqtt_road.port), self._kafka_address()]
        return [sys.executable, "-m", "bench.bridge.stock", *where, "stock", f"{SITE}/#", topics.READINGS]


@dataclass(frozen=True)
class Restartable(Extended):
    """A relayed broker whose relay keeps listening while the broker is away: a port of ours, not of its."""

    proxy: int = 0

    def prepare(self, folder: Path, ports: Mapping[str, int]) -> Command:
        """As a relayed one."""
        return super().prepare(folder, {**ports, "proxy": self.proxy})


@asynccontextmanager
async def open_bed(chapter: Chapter, system: str, folder: Path, tools: KafkaTools) -> AsyncIterator[Bed]:
    """Start services in a folder of their own and end everything afterwards."""
    runner = Runner(folder / "services")
    try:
        mqtt = await asyncio.to_thread(start_mosquitto, runner, "mqtt", every_change=chapter.kept)
        async with AsyncExitStack() as stack:
            kafka_road = await stack.enter_async_context(Proxy(("127.0.0.1", 0)))
            start = _start_three if chapter.combination.brokers > 1 else _start_kafka
            kafka, straight = await asyncio.to_thread(start, runner, tools, kafka_road)
            mqtt_road = await stack.enter_async_context(Proxy((mqtt.host, mqtt.port)))
            mqtt_road.delay_s = chapter.delay_s
            if chapter.combination.sparkplug:
                ensure_topics(straight, topics.sparkplug_topics())
            publisher = EdgeNode if chapter.combination.sparkplug else Numbers
            numbers = await stack.enter_async_context(publisher(SITE, mqtt.port, chapter.combination.qos))
            bed = Bed(system, chapter, folder, kafka, mqtt, kafka_road, mqtt_road, numbers, straight)
            stack.callback(bed.kill)
            yield bed
    finally:
        await asyncio.to_thread(runner.stop, grace_s=1.0)


def _start_kafka(runner: Runner, tools: KafkaTools, road: Proxy) -> tuple[Broker, KafkaSettings]:
    plan = relayed(KafkaService("kafka", lambda: tools), more=_QUOTA)
    service = Restartable(plan.inner, plan.more, ("relay",), road.port)
    runner.start(service)
    settings = KafkaSettings(brokers=runner.address(service))
    ensure_topics(settings, topics.edge_topics())
    road.target = ("127.0.0.1", runner.ports(service)["relay"])
    return Broker("kafka", runner.address(service), runner, service), settings


def _start_three(runner: Runner, tools: KafkaTools, _road: Proxy) -> tuple[Leaders, KafkaSettings]:
    leaders = three(runner, tools)
    ensure_topics(leaders.settings, topics.edge_topics(), replication_factor=3)
    return leaders, leaders.settings
