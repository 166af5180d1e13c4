"""The way of a message: received, recognised or routed, written, acknowledged.

Order of effects, and what a kill between each two leaves:
 1. A message is received. Killed here: the broker sends it again, nobody has it, it is written then.
 2. Its record is written and Kafka acknowledges it. Killed here: the broker sends it again, the tail shows it, it is
    acknowledged only. That the write is still on its way makes no difference: the next life fences it off first.
 3. It is acknowledged to MQTT. Killed here, with the acknowledgement lost or not: as after 2, or it is over.
Acknowledgements leave in the order of receipt, so a message waits for those before it in other partitions too. The
source stops to read at `receive_maximum` unacknowledged messages, and the bridge at MOST_HELD_BYTES: these bound what
is held here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge_agent.bridge.clockwatch import ClockWatch
from edge_agent.bridge.counts import Counts
from edge_agent.bridge.outlet import Lane, Outlet, SectionWriter
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.records import PACKET_ID_BLOCK, PLAIN_BYTES, SEQUENCE_BLOCK, Receipt, Records, head_of
from edge_agent.bridge.routes import MOST_TOPIC_BYTES, MOST_TOPICS, Table
from edge_agent.bridge.settings import BridgeSettings
from headwater.contract import headers, topics
from headwater.transport.kafka_batch.records import header_blocks, key_block
from headwater.transport.mqtt.packets import DUP, QOS_1, Publish
from headwater.transport.mqtt.source import Batch, MqttSource

MOST_HELD_BYTES = 64 << 20
_FEW = 64  # messages under way are no backlog
_FULL_MS = 50  # after a full window more is to come


class Bridge:
    """One source, one writer, one life."""

    def __init__(
        self,
        source: MqttSource,
        writer: SectionWriter,
        recogniser: Recogniser,
        settings: BridgeSettings,
        *,
        site: str,
        partitions: Mapping[str, int],
        receive_maximum: int,
        schemas: Mapping[str, bytes] = {},  # grows while it is used
        clocks: ClockWatch | None = None,
    ) -> None:
        self.counts = Counts()
        self.outlet = Outlet(writer, self._written, self._moved)
        table: Table[Lane] = Table(settings.routes, site, partitions, self.outlet.lane, schemas)
        self.records = Records(table, self.outlet, settings.batch_bytes, clocks or ClockWatch())
        self._plain: dict[bytes, tuple[Lane, bytes, bytes]] = {}  # topic: lane, key, head of the headers
        self._source = source
        self._recogniser = recogniser
        self._receive_maximum = receive_maximum
        self._few = max(_FEW, receive_maximum // 8)
        self._peak = 0  # messages that the broker has sent ahead, at most
        self._batch_bytes = settings.batch_bytes
        self._drain_s = settings.drain_s
        self._epoch = 0
        self._place = 0  # of the next message, in the order of receipt
        self._first_place = 0  # of this connection
        self._acknowledged = 0  # all before this place are
        self._common = b""  # header blocks that all records of a read share
        self._now_ms = 0
        self._full_ms = 0  # when the broker's window was full last
        self._session = b""
        self._idle = asyncio.Event()
        self._idle.set()
        self._paused = False

    @property
    def held_back(self) -> int:
        """Messages that wait for something else than Kafka."""
        return 0

    @property
    def unacknowledged(self) -> int:
        """Messages of this connection that MQTT has not been told about."""
        return self._place - self._acknowledged

    async def run(self, stop: asyncio.Event) -> None:
        """Carry messages until `stop`, then wait up to `drain_s` for Kafka to take what is held.

        Raises Fenced when another life has taken over, Refused when the broker does not want us.
        """
        reader = asyncio.create_task(self._read())
        stopped = asyncio.create_task(stop.wait())
        tasks: list[asyncio.Future[Any]] = [reader, stopped]
        try:
            await _first([self.outlet.failed, reader, stopped], None)
            reader.cancel()
            self._source.pause()  # what comes now, nobody would wait for
            tasks.append(asyncio.create_task(self._idle.wait()))
            await _first([self.outlet.failed, tasks[-1]], self._drain_s)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read(self) -> None:
        while True:
            self.take(await self._source.read())
            self._source.relay(self.take)

    def take(self, batch: Batch) -> None:
        """Take in one batch, without waiting."""
        self._now_ms = time.time_ns() // 1_000_000
        if batch.epoch != self._epoch:
            self._begin(batch)
        self.counts.received += len(batch.messages)
        self.records.look(batch.messages, self._now_ms)
        self._common = header_blocks(
            ((headers.SESSION, self._session), (headers.RECEIVED_AT, headers.number(self._now_ms)))
        )
        if not self._recogniser.orphans:
            self._receive_all(batch.messages)
        else:
            for message in batch.messages:
                self._receive(message)
            if self._place - self._first_place > 2 * self._receive_maximum:
                self._recogniser.orphans.clear()  # redeliveries come first: what did not come has expired
        self._recogniser.forget(self._acknowledged, self._place)
        self._hold()
        self.outlet.flush()
        self._acknowledge()
        self._look_after()

    def _begin(self, batch: Batch) -> None:
        self._epoch = batch.epoch
        present = batch.session_present
        self._session = self._recogniser.begin(self._acknowledged, self._now_ms, session_present=present)
        self._first_place = self._acknowledged = self._place

    def _receive_all(self, messages: Sequence[Publish]) -> None:
        """The short way for what is plain: QoS 1, sent once, no properties, known topic, value as it came."""
        plain, recogniser, common, now_ms = self._plain, self._recogniser, self._common, self._now_ms
        young, most, join = recogniser.young, self._batch_bytes, b"".join
        place, sequence, waiting = self._place, recogniser.sequence, 0
        for message in messages:
            first, topic, packet_id, payload, known = message
            way = plain.get(topic)
            if first != QOS_1 or known or way is None or len(payload) > PLAIN_BYTES:
                self._place, recogniser.sequence = place, sequence
                self._receive(message)
                place, sequence = self._place, recogniser.sequence
                continue
            sequence += 1
            young[packet_id] = (hash((topic, payload)), place, sequence)
            lane, key, head = way
            blocks = join((head, common, PACKET_ID_BLOCK, packet_id, SEQUENCE_BLOCK, sequence.to_bytes(8, "big")))
            size = lane.section.add(key, payload, blocks, now_ms)
            lane.places.append(place)
            place += 1
            waiting += 1
            if size > most:
                lane.flush()
        self._place, recogniser.sequence = place, sequence
        if waiting:
            self.counts.waiting += waiting
            self._idle.clear()

    def _receive(self, message: Publish) -> None:
        first, topic, packet_id, _, _ = message
        place = self._place
        self._place += 1
        entry = self._recogniser.find(message) if packet_id else None
        if entry is not None:
            self._recogniser.keep(packet_id, entry, place)
            if not self._recogniser.is_partial(packet_id, entry):
                self.counts.recognised += 1
                return
        values = self.records.decode(message, self._now_ms)
        routed, decoded = values
        if not decoded:
            if entry is None:
                self._recogniser.remember(message, place)  # it has taken a packet id
            self.counts.filtered += 1
            return
        doubt = ""
        if entry is None:
            sequence, parts = self._recogniser.remember(message, place), list(range(len(decoded)))
            doubt = self._recogniser.doubt if first & DUP else ""
        else:
            sequence, parts = entry[2], self._recogniser.missing(packet_id, len(decoded))
            if not parts:
                self.counts.recognised += 1
                return
        self.counts.waiting += 1
        self.counts.possible_duplicates += bool(doubt)
        self._idle.clear()
        self.records.put(message, values, parts, Receipt(self._session, self._now_ms, sequence, doubt), place)
        if routed.decoder is None and routed.refusal is None and len(topic) <= MOST_TOPIC_BYTES:
            if len(self._plain) >= MOST_TOPICS:
                self._plain.clear()
            self._plain[topic] = routed.lane, key_block(routed.key), head_of(routed, 4)

    def _written(self, topic: str, messages: int) -> None:
        self.counts.waiting -= messages
        if not self.counts.waiting:
            self._idle.set()
        if topic == topics.DEAD_LETTERS:
            self.counts.dead_lettered += messages
        else:
            self.counts.written += messages

    def _acknowledge(self) -> None:
        settled = min(self._end(), self.outlet.settled(self._place))
        count = settled - self._acknowledged
        if count > 0:
            self._acknowledged = settled
            self._source.acknowledge(count, self._epoch)
        if self._paused and self.outlet.held < MOST_HELD_BYTES // 2:
            self._paused = False
            self._source.resume()

    def _moved(self) -> None:
        self._acknowledge()
        self._hold()

    def _end(self) -> int:
        """The first place that cannot be acknowledged, whatever is written."""
        return self._place

    def _hold(self) -> None:
        """In a backlog let batches grow for as long as the broker's window allows: links and Kafka like them large.

        A full window is no reason to let go while batches are under way: their answers make room for more.
        """
        outlet, under_way = self.outlet, self._place - self._acknowledged
        if under_way > self._peak:
            self._peak = min(under_way, self._receive_maximum)
        if under_way >= max(_FEW, self._peak * 4 // 5):
            self._full_ms = self._now_ms
            more = outlet.held > 0
        else:
            more = under_way > self._few or 0 <= self._now_ms - self._full_ms < _FULL_MS
        outlet.hold(self._batch_bytes if more else 0)

    def _look_after(self) -> None:
        if not self._paused and self.outlet.held > MOST_HELD_BYTES:
            self._paused = True
            self._source.pause()


async def _first(tasks: Sequence[asyncio.Future[Any]], timeout_s: float | None) -> None:
    """Wait until one of the tasks has ended, or for some time; raises what it raised."""
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
