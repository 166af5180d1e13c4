"""What leaves for one broker: batches handed in during one turn of the event loop share a Produce request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from headwater.contract.errors import BadInput, HeadwaterError
from headwater.transport.kafka_batch import calls
from headwater.transport.kafka_batch.answers import awaited
from headwater.transport.kafka_batch.calls import Produced
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.wire import Buffer, Sendable

_REQUEST_BYTES = 4 << 20  # a broker's socket.request.max.bytes is 100 MiB by default
_SHARE_OF_TIMEOUT = 0.75  # the broker gives up on its replicas before we give up on the connection


Answered = Callable[[Produced | HeadwaterError], None]


class _Entry(NamedTuple):
    topic: str
    partition: int
    batch: Sendable
    answered: Answered


class Outbox:
    """Keeps the order of each partition. A broker takes one batch a partition in a request; more make more requests."""

    def __init__(self, connection: Connection, request_timeout_s: float) -> None:
        self._connection = connection
        self._timeout_ms = int(request_timeout_s * 1000 * _SHARE_OF_TIMEOUT)
        self._queues: dict[tuple[str, int], deque[_Entry]] = {}  # none of them empty; the first is the next in turn
        self._flush_due = False
        self._waiter: asyncio.Task[None] | None = None

    @property
    def connection(self) -> Connection:
        """The connection that it leaves on."""
        return self._connection

    def put(self, topic: str, partition: int, batch: Buffer) -> asyncio.Future[Produced]:
        """Queue one batch, which must not change any more; the future fails with Unreachable if the connection ends."""
        done: asyncio.Future[Produced] = asyncio.get_running_loop().create_future()
        self.post(topic, partition, batch, awaited(done))
        return done

    def post(self, topic: str, partition: int, batch: Sendable, answered: Answered) -> None:
        """As `put`, without a turn of the event loop between the answer and `answered`, which must not raise."""
        entry, queue = _Entry(topic, partition, batch, answered), self._queues.get((topic, partition))
        if queue is None:
            self._queues[topic, partition] = deque((entry,))
        else:
            queue.append(entry)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        while self._queues:
            if not self._connection.clear and self._connection.ready:
                self._waiter = asyncio.get_running_loop().create_task(self._flush_later())
                return
            self._send(self._next_request())
        self._flush_due = False

    async def _flush_later(self) -> None:
        await self._connection.room()
        self._flush()

    def _next_request(self) -> list[_Entry]:
        """The first batch of each partition, as far as there is room; who was served goes behind the others."""
        taken: list[_Entry] = []
        size = 0
        for queue in self._queues.values():
            size += len(queue[0].batch)
            if taken and size > _REQUEST_BYTES:
                break
            taken.append(queue.popleft())
        for entry in taken:
            pair = (entry.topic, entry.partition)
            queue = self._queues.pop(pair)
            if queue:
                self._queues[pair] = queue
        return taken

    def _send(self, entries: list[_Entry]) -> None:
        call = calls.produce([each[:3] for each in entries], self._timeout_ms)
        self._connection.post(call, partial(self._answered, entries))

    def _answered(self, entries: list[_Entry], answer: tuple[int, list[Produced]] | HeadwaterError) -> None:
        if isinstance(answer, HeadwaterError):
            for entry in entries:
                entry.answered(answer)
            return
        throttle_ms, produced = answer
        self._connection.hold(throttle_ms)
        due, self._flush_due = self._flush_due, True
        try:
            for entry, result in zip(entries, self._in_order(entries, produced), strict=True):
                entry.answered(result)
        finally:
            if not due:  # what they have posted leaves at once
                self._flush()

    def _in_order(self, entries: list[_Entry], produced: list[Produced]) -> Sequence[Produced | HeadwaterError]:
        """What was answered for each; brokers keep the order of the request, but need not."""
        if [each[:2] for each in produced] == [each[:2] for each in entries]:
            return produced
        results = {(each.topic, each.partition): each for each in produced}
        return [results.get((each.topic, each.partition)) or self._unanswered(each) for each in entries]

    def _unanswered(self, entry: _Entry) -> HeadwaterError:
        where = self._connection.where
        return BadInput(f"broker {where} does not answer for {entry.topic}[{entry.partition}]")
