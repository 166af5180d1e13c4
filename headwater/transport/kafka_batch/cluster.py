"""A Kafka cluster: which broker leads what, one connection to each, and the calls routed to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from types import TracebackType
from typing import Literal, TypeVar

from headwater.contract.errors import BadInput, Transient, Unreachable
from headwater.transport.kafka_batch import calls, codes, permissions, transactions
from headwater.transport.kafka_batch.calls import Fetched, FetchLimits, Produced, TopicPartition
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.meter import Meter
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.road import Road
from headwater.transport.kafka_batch.routes import FETCH, WRITE, Purpose, Routes
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.kafka_batch.transactions import Producer, ProducerState
from headwater.transport.kafka_batch.wire import Buffer, Call

T = TypeVar("T")
R = TypeVar("R")

_ENDS: dict[str, int] = {"earliest": calls.EARLIEST_MS, "latest": calls.LATEST_MS}
_NEW_TOPIC_S = 1.0
_BUSY_PAUSE_S, _BUSY_TRIES = 0.01, 100  # a former transaction is being ended; librdkafka's 0.5 s is a whole start-up
_TRANSACTION_TIMEOUT_MS = 60_000


class Cluster:
    """Calls to one cluster, over one connection a broker (a second one for fetches, which may wait for data).

    Calls raise Unreachable when a broker does not answer (whether the call was carried out is then unknown) and other
    Transient errors when a leader or coordinator moves; the next call connects and asks for leaders again. Pauses
    between tries are the caller's (headwater/transport/retry.py). Requests on one connection are answered in order: a
    fetch that waits delays the next one, so independent readers use a Cluster each.
    """

    def __init__(self, settings: KafkaSettings, *, client_id: str, meter: Meter | None = None) -> None:
        self.settings, self.meter = settings, meter
        self._routes = Routes(settings, client_id, meter)

    async def connect(self) -> None:
        """Reach one broker and log in; Unreachable, Refused, Untrusted or BadSetting if that is not possible."""
        await self._routes.refresh([])

    async def close(self) -> None:
        """End all connections; calls that wait fail with Unreachable."""
        self._routes.close()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next turn

    async def __aenter__(self) -> Cluster:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def partitions(self, topic: str) -> int:
        """Ask how many partitions a topic has; BadInput if there is no such topic.

        A topic that was made a moment ago may be unknown to a broker that is asked; so an unknown one is asked for
        during a second.
        """
        until = asyncio.get_running_loop().time() + _NEW_TOPIC_S
        while True:
            await self._routes.refresh([topic])
            found = self._routes.topic(topic)
            unknown = found.error == codes.UNKNOWN_TOPIC_OR_PARTITION
            if not unknown or asyncio.get_running_loop().time() > until:
                break
            await asyncio.sleep(_NEW_TOPIC_S / 10)
        if found.error in {codes.UNKNOWN_TOPIC_OR_PARTITION, codes.INVALID_TOPIC}:
            raise BadInput(
                f"there is no topic {topic!r} at {self.settings.brokers}", hint="create it, or correct the name"
            )
        codes.check(found.error, f"asking for topic {topic}", denied=self.denied("Describe", topic))
        return len(found.leaders)

    async def offsets(self, topic: str, end: Literal["earliest", "latest"]) -> dict[int, int]:
        """First offset kept, or first offset not yet readable (the high watermark), of each partition."""
        found = await self._list_offsets(topic, _ENDS[end])
        return {partition: listed.offset for partition, listed in found.items()}

    async def offset_at(self, topic: str, timestamp_ms: int) -> dict[int, int | None]:
        """Offset of the first record at or after a time (ms since 1970) in each partition, None if there is none."""
        if timestamp_ms < 0:
            raise BadInput(f"a time before 1970: {timestamp_ms} ms")
        found = await self._list_offsets(topic, timestamp_ms)
        return {partition: listed.offset if listed.offset >= 0 else None for partition, listed in found.items()}

    async def _list_offsets(self, topic: str, stamp: int) -> dict[int, calls.ListedOffset]:
        pairs = [(topic, partition) for partition in range(await self.partitions(topic))]
        found: dict[int, calls.ListedOffset] = {}
        for answer in await self._each_leader(pairs, lambda part: calls.list_offsets(dict.fromkeys(part, stamp))):
            for (_, partition), listed in answer.items():
                self._check(topic, listed.error, f"asking for offsets of {topic}[{partition}]", "Describe")
                found[partition] = listed
        return dict(sorted(found.items()))

    async def fetch(
        self,
        want: Mapping[TopicPartition, int],
        *,
        max_wait_ms: int = 500,
        min_bytes: int = 1,
        max_bytes: int = 16 << 20,
        partition_max_bytes: int = 1 << 20,
        read_committed: bool = False,
    ) -> list[Fetched]:
        """Fetch from offsets, from all leaders at once; returns when each has data or has waited `max_wait_ms`.

        Each partition has an error code of its own (see codes.py; 13 if its leader is away while others answer).
        Unreachable: no leader answers. Whole batches come: the first may begin before the offset that was asked for.
        """
        longest_ms = int(self.settings.request_timeout_s * 500)
        limits = FetchLimits(min(max_wait_ms, longest_ms), min_bytes, max_bytes, partition_max_bytes, read_committed)
        groups, lost = await self._routes.by_leader(want)
        if len(groups) == 1 and not lost:  # the commonest, without a task of its own
            return await self._fetch_from(next(iter(groups)), want, limits)
        asking = (self._fetch_from(node, {p: want[p] for p in pairs}, limits) for node, pairs in groups.items())
        outcomes = await asyncio.gather(*asking, return_exceptions=True)
        found, failures = list[Fetched](), list[BaseException]()
        for pairs, outcome in zip(groups.values(), outcomes, strict=True):
            if isinstance(outcome, list):
                found += outcome
            elif isinstance(outcome, Unreachable):
                failures.append(outcome)
                lost.update(dict.fromkeys(pairs, codes.NETWORK_EXCEPTION))
            else:
                raise outcome
        if failures and not found:
            raise failures[0]
        return found + [Fetched(*pair, code, -1, -1, -1, [], memoryview(b"")) for pair, code in lost.items()]

    async def _fetch_from(self, node: int, want: Mapping[TopicPartition, int], limits: FetchLimits) -> list[Fetched]:
        outbox = await self._routes.line(node, FETCH)
        error, throttle_ms, found = await outbox.connection.request(calls.fetch(want, limits))
        codes.check(error, f"fetching from broker {outbox.connection.where}")
        outbox.connection.hold(throttle_ms)
        for each in found:
            self.note(each.topic, each.error)
        return found

    async def produce(self, batches: Sequence[tuple[str, int, Buffer]]) -> list[Produced]:
        """Write whole batches and wait for all in-sync replicas; answers in the order of `batches`.

        Each answer has an error code of its own (5 without a leader, 13 if its leader is away while others answer).
        Unreachable: no leader answers; whether the batches were written is unknown. Batches of a partition keep the
        order of the calls.
        """
        outcomes = await asyncio.gather(*[await self._put(*batch) for batch in batches], return_exceptions=True)
        found: list[Produced] = []
        for (topic, partition, _), outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, Produced):
                self.note(topic, outcome.error)
                found.append(outcome)
            elif isinstance(outcome, Unreachable) and not all(isinstance(o, Unreachable) for o in outcomes):
                found.append(Produced(topic, partition, codes.NETWORK_EXCEPTION, -1, str(outcome)))
            else:
                raise outcome
        return found

    async def _put(self, topic: str, partition: int, batch: Buffer) -> asyncio.Future[Produced]:
        try:
            return (await self.reach(topic, partition)).put(topic, partition, batch)
        except Transient as error:
            done: asyncio.Future[Produced] = asyncio.get_running_loop().create_future()
            if isinstance(error, Unreachable):
                done.set_exception(error)
            else:
                done.set_result(Produced(topic, partition, codes.LEADER_NOT_AVAILABLE, -1, str(error)))
            return done

    async def reach(self, topic: str, partition: int, purpose: Purpose = WRITE) -> Outbox:
        """The outbox of a partition's leader, on a connection of that `purpose`; Transient if it cannot be reached.

        It does not suspend while the leader is known and connected, so that batches keep their order.
        """
        return await self._routes.line(await self._routes.leader(topic, partition), purpose)

    def lines(self) -> list[tuple[Purpose, Connection]]:
        """Live connections and what they are for."""
        return self._routes.lines()

    def note(self, topic: str, code: int) -> None:
        """Heed an error code that a leader gave: perhaps the leaders must be asked for again."""
        if code in codes.STALE_LEADER:
            self._routes.forget(topic)

    def _check(self, topic: str, code: int, doing: str, operation: str) -> None:
        self.note(topic, code)
        codes.check(code, doing, denied=self.denied(operation, topic))

    def denied(self, operation: str, topic: str) -> str:
        """Hint for a call that this user may not make on a topic."""
        return permissions.denied(self.settings, operation, "topic", topic)

    async def describe_producers(self, topic: str, partitions: Iterable[int]) -> dict[int, list[ProducerState]]:
        """What the leaders know of each partition's producers (their last epoch and sequence)."""
        pairs = [(topic, partition) for partition in partitions]
        found: dict[int, list[ProducerState]] = {}
        for answer in await self._each_leader(
            pairs, lambda part: transactions.describe_producers(topic, [p for _, p in part])
        ):
            for partition, (error, states) in answer.items():
                self._check(topic, error, f"asking for producers of {topic}[{partition}]", "Read")
                found[partition] = states
        return found

    async def _each_leader(
        self, pairs: Sequence[TopicPartition], make: Callable[[Sequence[TopicPartition]], Call[T]]
    ) -> list[T]:
        groups, lost = await self._routes.by_leader(pairs)
        for (topic, partition), code in lost.items():
            codes.check(code, f"looking for {topic}[{partition}]", denied=self.denied("Describe", topic))
        return await asyncio.gather(*(self._ask(node, make(part)) for node, part in groups.items()))

    async def _ask(self, node: int, call: Call[T]) -> T:
        outbox = await self._routes.line(node, WRITE)
        return await outbox.connection.request(call)

    async def ask_any(self, call: Call[T]) -> T:
        """Send a call that any broker answers; Unreachable if none does."""
        return await self._ask(await self._routes.any_node(), call)

    async def nodes(self) -> list[int]:
        """All brokers of the cluster, asked for now."""
        await self._routes.refresh([])
        return sorted(self._routes.brokers)

    async def ask_node(self, node: int, call: Call[T]) -> T:
        """Send a call that this broker answers for itself; Transient if it is not known, Unreachable if silent."""
        return await self._ask(node, call)

    def roads(self) -> dict[int, Road]:
        """What the kernel knows of each live connection, by a number that is its own while it lives."""
        found = ((id(each), each.road()) for each in self._routes.connections())
        return {name: road for name, road in found if road is not None}

    async def find_coordinator(self, transactional_id: str) -> int:
        """Node of the broker that coordinates a transactional id (remembered until it says that it is not)."""
        return await self._routes.coordinator(transactional_id)

    async def init_producer_id(self, transactional_id: str | None = None) -> Producer:
        """Get a producer id; with a transactional id the same one each time, with the next epoch.

        The former transaction of that name, if one is open, is aborted first.
        """
        call = transactions.init_producer_id(transactional_id, _TRANSACTION_TIMEOUT_MS)
        doing = f"asking for the producer id of {transactional_id or 'a nameless writer'}"
        if transactional_id is not None:
            return await self._at_coordinator(transactional_id, doing, call, itemgetter(0), itemgetter(1))
        error, producer = await self.ask_any(call)
        codes.check(error, doing, denied=permissions.denied(self.settings, "IdempotentWrite", "cluster"))
        return producer

    async def add_partitions_to_txn(
        self, transactional_id: str, producer: Producer, partitions: Mapping[str, Sequence[int]]
    ) -> None:
        """Open a transaction over partitions; Fenced if a later life of that name exists."""
        call = transactions.add_partitions_to_txn(transactional_id, producer, partitions)
        doing = f"opening a transaction of {transactional_id}"
        await self._at_coordinator(transactional_id, doing, call, _worst, bool)

    async def end_txn(self, transactional_id: str, producer: Producer, *, commit: bool) -> None:
        """End the transaction; its markers reach the partitions a little later. Fenced as above."""
        call = transactions.end_txn(transactional_id, producer, commit=commit)
        await self._at_coordinator(transactional_id, f"ending a transaction of {transactional_id}", call, int, bool)

    async def _at_coordinator(
        self,
        transactional_id: str,
        doing: str,
        call: Call[T],
        code_of: Callable[[T], int],
        result_of: Callable[[T], R],
    ) -> R:
        for _ in range(_BUSY_TRIES):
            answer = await self._ask(await self._routes.coordinator(transactional_id), call)
            if code_of(answer) != codes.CONCURRENT_TRANSACTIONS:
                break
            await asyncio.sleep(_BUSY_PAUSE_S)
        if code_of(answer) in codes.STALE_COORDINATOR:
            self._routes.forget_coordinator(transactional_id)
        lacking = permissions.denied(self.settings, "Write", "transactional-id", transactional_id)
        if isinstance(answer, dict) and code_of(answer) == codes.TOPIC_AUTHORIZATION_FAILED:
            lacking = self.denied("Write", min(topic for (topic, _), code in answer.items() if code in codes.DENIED))
        codes.check(code_of(answer), doing, denied=lacking)
        return result_of(answer)


def _worst(answers: Mapping[TopicPartition, int]) -> int:
    """The code that says why; partitions that were not looked at because of it carry 55."""
    codes_given = {code for code in answers.values() if code != codes.NONE}
    return min(codes_given - {codes.OPERATION_NOT_ATTEMPTED}, default=min(codes_given, default=codes.NONE))
