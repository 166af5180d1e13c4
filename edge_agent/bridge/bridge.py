"""The way of a message: received, recognised or routed, written, acknowledged.

Order of effects, and what a kill between each two leaves:
 1. A message is received. Killed here: the broker sends it again, nobody has it, it is written then.
 2. Its record is written and Kafka acknowledges it. Killed here: the broker sends it again, the tail shows it, it is
    acknowledged only. That the write is still on its way makes no difference: the next life fences it off first.
 3. It is acknowledged to MQTT. Killed here, with the acknowledgement lost or not: as after 2, or it is over.
Acknowledgements leave in the order of receipt, so a message waits for those before it in other partitions too. The
broker stops at `receive_maximum` unacknowledged messages: that is the bound of everything held here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog

from edge_agent.bridge.counts import Counts
from edge_agent.bridge.lane import Lane, RecordWriter
from edge_agent.bridge.recogniser import Entry, Recogniser, digest
from edge_agent.bridge.route import Route, Routed
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract import headers, topics
from headwater.transport.kafka_batch.records import Out
from headwater.transport.mqtt.connection import Message
from headwater.transport.mqtt.source import Batch, MqttSource

MOST_PAYLOAD_BYTES = 700 << 10  # with key and headers, a batch of one record stays below Kafka's default of 1 MiB
_KEPT_OF_LARGE = 1024  # bytes of a larger one that go to dead-letters

_log = structlog.get_logger(__name__)


class Bridge:
    """One source, one writer, one life."""

    def __init__(
        self,
        source: MqttSource,
        writer: RecordWriter,
        route: Route,
        recogniser: Recogniser,
        settings: BridgeSettings,
        *,
        partitions: int,
        receive_maximum: int,
    ) -> None:
        self.counts = Counts()
        self._source = source
        self._route = route
        self._recogniser = recogniser
        self._receive_maximum = receive_maximum
        self._lanes = {
            (topic, partition): Lane(
                writer,
                topic,
                partition,
                linger_s=settings.linger_ms / 1000,
                batch_bytes=settings.batch_bytes,
                written=self._written,
            )
            for topic in (topics.READINGS, topics.DEAD_LETTERS)
            for partition in range(partitions)
        }
        self._epoch = 0
        self._open: deque[Entry] = deque()  # of this connection, in the order of receipt
        self._session = b""
        self._drain_s = settings.drain_s
        self._idle = asyncio.Event()
        self._idle.set()
        self._warned = False

    async def run(self, stop: asyncio.Event) -> None:
        """Carry messages until `stop`, then wait up to `drain_s` for Kafka to take what is held.

        Raises Fenced when another life has taken over, Refused when the broker does not want us.
        """
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(lane.run()) for lane in self._lanes.values()]
        reader = asyncio.create_task(self._read())
        stopped = asyncio.create_task(stop.wait())
        try:
            await _first([*tasks, reader, stopped], None)
            reader.cancel()
            stopped = asyncio.create_task(self._idle.wait())
            await _first([*tasks, stopped], self._drain_s)
        finally:
            tasks += [reader, stopped]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read(self) -> None:
        while True:
            self.take(await self._source.read())

    def take(self, batch: Batch) -> None:
        """Take in one batch, without waiting."""
        now_ms = time.time_ns() // 1_000_000
        if batch.epoch != self._epoch:
            self._begin(batch, now_ms)
        for message in batch.messages:
            self._receive(message, now_ms)
        if not self._warned and len(self._open) > 2 * self._receive_maximum:
            self._warned = True
            _log.warning(
                "the broker sends further ahead than receive_maximum; after a kill, messages may be written twice",
                hint="set edge.mqtt.receive_maximum to the broker's own limit, or speak MQTT 5",
                unacknowledged=len(self._open),
            )
        self._acknowledge()

    def _begin(self, batch: Batch, now_ms: int) -> None:
        self._epoch = batch.epoch
        self._open = deque()
        if not batch.session_present:
            self._recogniser.begin_session(now_ms)
        self._session = headers.text(self._recogniser.session)

    def _receive(self, message: Message, now_ms: int) -> None:
        self.counts.received += 1
        if message.qos == 0 and len(self._open) >= 2 * self._receive_maximum:
            self.counts.dropped += 1
            self._open.append(_NOTHING)
            return
        routed = self._route.of(message.topic)
        if len(message.payload) > MOST_PAYLOAD_BYTES:
            message = message._replace(payload=message.payload[:_KEPT_OF_LARGE])
            routed = routed._replace(refusal=_TOO_LARGE)
        content = digest(routed.headers[0][1] or b"", message.payload)
        entry = self._recogniser.find(message, content, self._epoch)
        if entry is not None:
            self.counts.recognised += 1
        else:
            entry = self._recogniser.remember(message, content, self._epoch)
            self._hand_over(message, routed, entry, now_ms)
        self._open.append(entry)

    def _hand_over(self, message: Message, routed: Routed, entry: Entry, now_ms: int) -> None:
        self.counts.waiting += 1
        self._idle.clear()
        topic = topics.READINGS
        known = (
            *routed.headers,
            (headers.SESSION, self._session),
            (headers.PACKET_ID, headers.number(message.packet_id)),
            (headers.SEQUENCE, headers.number(entry.sequence)),
            (headers.RECEIVED_AT, headers.number(now_ms)),
        )
        if routed.refusal is not None:
            topic = topics.DEAD_LETTERS
            reason, detail = routed.refusal
            known += ((headers.REASON, headers.text(reason)), (headers.DETAIL, headers.text(detail)))
        self._lanes[topic, routed.partition].put(Out(routed.key, message.payload, known, now_ms), entry)

    def _written(self, topic: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            entry.written = True
        self.counts.waiting -= len(entries)
        if not self.counts.waiting:
            self._idle.set()
        if topic == topics.READINGS:
            self.counts.written += len(entries)
        else:
            self.counts.dead_lettered += len(entries)
        self._acknowledge()

    def _acknowledge(self) -> None:
        count = 0
        while self._open and self._open[0].written:
            self._open.popleft().acknowledged = True
            count += 1
        if count:
            self._source.acknowledge(count, self._epoch)


_NOTHING = Entry(b"", 0, 0, written=True)
_TOO_LARGE = ("too-large", f"a payload above {MOST_PAYLOAD_BYTES} bytes; the first {_KEPT_OF_LARGE} are kept")


async def _first(tasks: Sequence[asyncio.Task[Any]], timeout_s: float | None) -> None:
    """Wait until one of the tasks has ended, or for some time; raises what it raised."""
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
