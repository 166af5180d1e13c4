"""Three Kafka brokers where a campaign else has one: what is done to Kafka is done to the leader of a partition."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka.admin import AdminClient

from headwater.app.stack.kafka import KafkaService, KafkaTools
from headwater.app.stack.runner import Runner
from headwater.contract import topics
from headwater.transport.kafka_batch.settings import KafkaSettings
from tests.brokers import node_name, nodes
from tests.services import Broker

_CHANGE_S = 30.0
_NODES = (1, 2, 3)


class Leaders:
    """A cluster that is broken like one `Broker`: kill, stop and pause take the leader, start and resume bring it back.

    A kill returns when another leads, so that the dead one comes back as a follower.
    """

    def __init__(self, brokers: dict[int, Broker]) -> None:
        self._brokers = brokers
        self._down = brokers[_NODES[0]]
        self.settings = KafkaSettings(brokers=",".join(each.bootstrap for each in brokers.values()))
        self._admin = AdminClient({"bootstrap.servers": self.settings.brokers, "log_level": 0})

    def kill(self) -> None:
        """SIGKILL for the leader."""
        self._take().kill()
        self._wait_for_another()

    def stop(self) -> None:
        """Stop the leader in order: it hands over first."""
        self._take().stop()
        self._wait_for_another()

    def start(self) -> None:
        """Start what was killed or stopped."""
        self._down.start()

    def pause(self) -> None:
        """SIGSTOP for the leader."""
        self._take().pause()

    def resume(self) -> None:
        """SIGCONT."""
        self._down.resume()

    def _take(self) -> Broker:
        end = time.monotonic() + _CHANGE_S
        while (leader := self._leader()) not in self._brokers:
            assert time.monotonic() < end, f"{topics.READINGS}[0] has no leader"
        self._down = self._brokers[leader]
        return self._down

    def _wait_for_another(self) -> None:
        end = time.monotonic() + _CHANGE_S
        while self._brokers.get(self._leader(), self._down) is self._down:
            assert time.monotonic() < end, f"nobody leads {topics.READINGS}[0] {_CHANGE_S:g} s after its leader's end"

    def _leader(self) -> int:
        found = self._admin.list_topics(topics.READINGS, timeout=10)
        return int(found.topics[topics.READINGS].partitions[0].leader)


def three(runner: Runner, tools: KafkaTools) -> Leaders:
    """Start three brokers that replicate to each other; the runner stops them."""
    placed = [KafkaService(node_name("kafka", node), lambda: tools) for node in _NODES]
    controllers = {node: runner.ports(each)["controller"] for node, each in zip(_NODES, placed, strict=True)}
    services = nodes(tools, "kafka", controllers)
    with ThreadPoolExecutor(len(services)) as pool:  # none answers before the others are there
        list(pool.map(runner.start, services))
    return Leaders({each.node: Broker(each.name, runner.address(each), runner, each) for each in services})
