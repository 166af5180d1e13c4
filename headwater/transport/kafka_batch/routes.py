"""Who leads what and how to get there: metadata, coordinators, connections; remembered until they prove wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from headwater.contract.errors import Transient, Unreachable
from headwater.transport.kafka_batch import calls, codes, permissions, transactions
from headwater.transport.kafka_batch.calls import Broker, Leader, TopicMetadata, TopicPartition
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.meter import Meter
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.reaching import first_reachable
from headwater.transport.kafka_batch.settings import KafkaSettings

# A broker answers the requests of a connection in order, so fetches, which may wait for data, have one of their own.
# So may others have that are to go past each other. Of a purpose a broker answers in order.
Purpose = str
WRITE, FETCH = "write", "fetch"


class Routes:
    """Connections are made when first needed, and made anew after they ended."""

    def __init__(self, settings: KafkaSettings, client_id: str, meter: Meter | None = None) -> None:
        self.cluster_id = ""
        self._meter = meter
        self._settings = settings
        self._client_id = client_id
        self._tls = settings.tls_context()
        self._brokers: dict[int, Broker] = {}
        self._topics: dict[str, TopicMetadata] = {}
        self._coordinators: dict[str, int] = {}
        self._seed: Connection | None = None
        self._lines: dict[tuple[Broker, Purpose], Outbox] = {}
        self._connecting: dict[tuple[Broker, Purpose], asyncio.Lock] = {}
        self._refreshing = asyncio.Lock()
        self._closed = False

    def close(self) -> None:
        """End all connections and make no more."""
        self._closed = True
        for outbox in self._lines.values():
            outbox.connection.close()
        if self._seed is not None:
            self._seed.close()
        self._lines.clear()

    def connections(self) -> list[Connection]:
        """Those that live."""
        found = [outbox.connection for outbox in self._lines.values()]
        found += [] if self._seed is None else [self._seed]
        return [each for each in found if each.ready]

    def lines(self) -> list[tuple[Purpose, Connection]]:
        """Live connections that have a purpose."""
        return [(purpose, each.connection) for (_, purpose), each in self._lines.items() if each.connection.ready]

    @property
    def brokers(self) -> dict[int, Broker]:
        """Brokers of the cluster, as last heard."""
        return self._brokers

    def topic(self, name: str) -> TopicMetadata:
        """Leaders of a topic, as last heard."""
        return self._topics.get(name) or TopicMetadata(codes.UNKNOWN_TOPIC_OR_PARTITION, {})

    def forget(self, topic: str) -> None:
        """Ask for the leaders of a topic before it is used again."""
        self._topics.pop(topic, None)

    async def refresh(self, topics: Sequence[str]) -> None:
        """Ask any broker for the brokers and for the leaders of `topics`."""
        connection = await self._any_connection()
        answer = await connection.request(calls.metadata(topics))
        if answer.brokers:
            self._brokers = answer.brokers
        self.cluster_id = answer.cluster_id
        self._topics.update(answer.topics)
        self._adopt_seed()

    async def _any_connection(self) -> Connection:
        for (_, purpose), outbox in self._lines.items():
            if purpose == WRITE and outbox.connection.ready:
                return outbox.connection
        if self._seed is None or not self._seed.ready:
            self._refuse_if_closed()
            known = [(broker.host, broker.port) for broker in self._brokers.values()]
            addresses = list(dict.fromkeys(self._settings.addresses() + known))
            self._seed = await first_reachable(self._settings, addresses, self._tls, self._client_id, self._meter)
        return self._seed

    def _adopt_seed(self) -> None:
        """Use the first connection for the broker that it turned out to lead to."""
        for broker in self._brokers.values():
            if self._seed is not None and self._seed.where == f"{broker.host}:{broker.port}":
                kept = self._lines.get((broker, WRITE))
                if kept is None or not kept.connection.ready:
                    self._lines[broker, WRITE] = Outbox(self._seed, self._settings.request_timeout_s)
                    self._seed = None

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Unreachable(f"the client of {self._settings.brokers} was closed")

    async def leader(self, topic: str, partition: int) -> int:
        """Node that leads a partition; Transient if the partition has no leader or is not known."""
        found = await self._leader(topic, partition)
        if found.error or found.node not in self._brokers:
            self.forget(topic)
            raise codes.failure(found.error or codes.LEADER_NOT_AVAILABLE, f"looking for {topic}[{partition}]")
        return found.node

    async def _leader(self, topic: str, partition: int) -> Leader:
        known = self._topics.get(topic)
        if known is None or known.error:
            async with self._refreshing:
                if self._topics.get(topic) is known:
                    await self.refresh([topic])
            known = self.topic(topic)
        if known.error:
            lacking = permissions.denied(self._settings, "Describe", "topic", topic)
            raise codes.failure(known.error, f"looking for {topic}", denied=lacking)
        return known.leaders.get(partition) or Leader(-1, -1, codes.UNKNOWN_TOPIC_OR_PARTITION)

    async def by_leader(
        self, pairs: Iterable[TopicPartition]
    ) -> tuple[dict[int, list[TopicPartition]], dict[TopicPartition, int]]:
        """Group partitions by the node that leads them; those without a leader come with their error code."""
        groups: dict[int, list[TopicPartition]] = {}
        lost: dict[TopicPartition, int] = {}
        for topic, partition in pairs:
            found = await self._leader(topic, partition)
            if found.error or found.node not in self._brokers:
                self.forget(topic)
                lost[topic, partition] = found.error or codes.LEADER_NOT_AVAILABLE
            else:
                groups.setdefault(found.node, []).append((topic, partition))
        return groups, lost

    async def line(self, node: int, purpose: Purpose) -> Outbox:
        """The connection to a node; Transient if the node is not known any more, Unreachable if it does not answer."""
        broker = self._brokers.get(node)
        if broker is None:
            raise Transient(f"broker {node} is not known to the cluster (any more)")
        line = self._lines.get((broker, purpose))
        if line is not None and line.connection.ready:
            return line
        lock = self._connecting.setdefault((broker, purpose), asyncio.Lock())
        async with lock:
            line = self._lines.get((broker, purpose))
            if line is not None and line.connection.ready:
                return line
            self._refuse_if_closed()
            if not any(each.connection.ready for (known, _), each in self._lines.items() if known == broker):
                self._forget_led_by(node)  # whatever becomes of it, leaders may have moved
            address = (broker.host, broker.port)
            connection = await Connection.open(self._settings, address, self._tls, self._client_id, self._meter)
            line = self._lines[broker, purpose] = Outbox(connection, self._settings.request_timeout_s)
            return line

    def _forget_led_by(self, node: int) -> None:
        for topic, known in list(self._topics.items()):
            if any(leader.node == node for leader in known.leaders.values()):
                self.forget(topic)
        self._coordinators = {name: at for name, at in self._coordinators.items() if at != node}

    async def coordinator(self, transactional_id: str) -> int:
        """Node that coordinates a transactional id; Transient while there is none."""
        node = self._coordinators.get(transactional_id)
        if node is None:
            connection = await self._any_connection()
            error, broker = await connection.request(transactions.find_coordinator(transactional_id))
            lacking = permissions.denied(self._settings, "Write", "transactional-id", transactional_id)
            codes.check(error, f"looking for the coordinator of {transactional_id}", denied=lacking)
            self._brokers = {**self._brokers, broker.node: broker}
            node = self._coordinators[transactional_id] = broker.node
        return node

    def forget_coordinator(self, transactional_id: str) -> None:
        """Ask for the coordinator of a transactional id before it is used again."""
        self._coordinators.pop(transactional_id, None)

    async def any_node(self) -> int:
        """Some node of the cluster."""
        if not self._brokers:
            await self.refresh([])
        return min(self._brokers)
