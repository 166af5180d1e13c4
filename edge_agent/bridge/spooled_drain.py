"""From the spool to Kafka, in its order, exactly once.

Routes and decoders are applied here: what waits goes by the routes that are in force when it leaves. Each record
carries its position in the spool, so that the log of Kafka alone says what a former life has written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import cast

import structlog

from edge_agent.bridge.clockwatch import ClockWatch
from edge_agent.bridge.counts import Counts
from edge_agent.bridge.outlet import Lane, Outlet, SectionWriter
from edge_agent.bridge.records import PACKET_ID_BLOCK, SEQUENCE_BLOCK, Receipt, Records, Values, head_of
from edge_agent.bridge.routes import MOST_TOPIC_BYTES, MOST_TOPICS, Table
from edge_agent.bridge.settings import BridgeSettings
from edge_agent.bridge.spooled_rows import HEAD, PLAIN, Kept, unpack
from edge_agent.bridge.spooled_tails import WINDOW, Done
from headwater.contract import headers, topics
from headwater.contract.decoders.reasons import TOO_LARGE
from headwater.contract.errors import Permanent
from headwater.transport.kafka_batch.records import header_blocks, key_block
from headwater.transport.mqtt.packets import QOS_1
from headwater.transport.spool import Gap, Missing, Record, Spool

MOST_HELD_BYTES = 32 << 20
_READ_BYTES = 128 << 10
_RETRY_S = 2.0

_log = structlog.get_logger(__name__)


class Drainer:
    """One spool, one writer, one life. `wake` it when there is more; `room` is set when a segment was deleted."""

    def __init__(
        self, spool: Spool, counts: Counts, settings: BridgeSettings, site: str, clocks: ClockWatch | None = None
    ) -> None:
        self.room = asyncio.Event()
        self.outlet: Outlet | None = None
        self.settled = 0  # all before it are safe in Kafka
        self._spool = spool
        self._counts = counts
        self._settings = settings
        self._site = site
        self._clocks = clocks or ClockWatch()
        self._own = bytes.fromhex(spool.id)
        self._place = header_blocks(((headers.SPOOL, self._own + bytes(8)),))[:-8]
        self._plain: dict[bytes, tuple[Lane, bytes, bytes]] = {}  # topic: lane, key, head of the headers
        self._done = Done()
        self._cursor = 0  # the next position to read
        self._now_ms = 0
        self._news = asyncio.Event()
        self._is_failing = False

    def begin(
        self, writer: SectionWriter, partitions: Mapping[str, int], done: Done, schemas: Mapping[str, bytes] = {}
    ) -> None:
        """Go on where the former life ended, by what Kafka tells; before anything is appended."""
        spool = self._spool
        self.outlet = Outlet(writer, self._written, self._moved)
        table: Table[Lane] = Table(self._settings.routes, self._site, partitions, self.outlet.lane, schemas)
        self.records = Records(table, self.outlet, self._settings.batch_bytes, self._clocks)
        self._done = done
        self._cursor = self.settled = max(spool.oldest, done.last + 1 - WINDOW)
        if done.last >= spool.end:  # a disk that lost what it had synced; positions must not be used again
            _log.error("the spool has lost its end", positions=done.last + 1 - spool.end, spool=spool.id)
            spool.advance(done.last + 1)
        waits = self.held
        self._counts.resumed += waits
        self._counts.waiting += waits
        if waits:
            _log.info("messages wait in the spool", messages=waits, spool=self._spool.id)

    def wake(self) -> None:
        """There is more to read."""
        self._news.set()

    def lose(self, gap: Gap) -> None:
        """Positions that the spool does not hold any more; those that are on their way go on."""
        lost = self._done.missing(max(gap.start, self._cursor), gap.end)
        self._counts.dropped += lost
        self._counts.waiting -= lost
        self._cursor = max(self._cursor, gap.end)

    @property
    def held(self) -> int:
        """Messages that are not in Kafka, counted where they are: in the spool, and on their way from it."""
        under_way = 0 if self.outlet is None else self.outlet.messages
        return self._done.missing(self._cursor, self._spool.end) + under_way

    @property
    def waits(self) -> bool:
        """Whether anything is not safe in Kafka."""
        return self.settled < self._spool.durable_end

    async def run(self) -> None:
        """Write what the spool gets until it is cancelled; `begin` comes first. Raises what the writer raises."""
        assert self.outlet is not None  # noqa: S101 - `begin` made it
        drain = asyncio.create_task(self._drain(self.outlet))
        try:
            await asyncio.wait([drain, self.outlet.failed], return_when=asyncio.FIRST_COMPLETED)
            for each in (self.outlet.failed, drain):
                if each.done():
                    each.result()
        finally:
            drain.cancel()
            await asyncio.wait([drain])

    async def _drain(self, outlet: Outlet) -> None:
        while True:
            self._news.clear()
            while found := await self._read(outlet):
                self._cursor = found[-1][0] + 1
                self._look(found)
                self._send(found)
                behind = self._spool.durable_end - self._cursor
                outlet.hold(self._settings.batch_bytes if behind > len(found) else 0)  # large batches suit links
                outlet.flush()
                self._moved()  # what was filtered, or was there
                await asyncio.sleep(0)
            outlet.hold(0)
            outlet.flush()
            await self._news.wait()

    async def _read(self, outlet: Outlet) -> Sequence[Record]:
        """The next records that may leave, none while there are none."""
        spool = self._spool
        most = self.settled + WINDOW - self._cursor
        if self._cursor >= spool.durable_end or most <= 0 or outlet.held > MOST_HELD_BYTES:
            return ()
        try:
            found = spool.read(self._cursor, _READ_BYTES)
        except Missing as missing:
            _log.error("the spool has lost messages", why=str(missing), hint=missing.hint)
            self.lose(missing.gap)
            return await self._read(outlet)
        except Permanent as error:
            if not self._is_failing:
                _log.error("the spool cannot be read", why=str(error), hint=error.hint)
            self._is_failing = True
            outlet.hold(0)
            outlet.flush()
            await asyncio.sleep(_RETRY_S)
            return await self._read(outlet)
        self._is_failing = False
        return found[:most]

    def _look(self, found: Sequence[Record]) -> None:
        """Count the messages by their routes, and look at some clocks."""
        if self._done.whole:
            found = [row for row in found if row[0] not in self._done.whole]
        self.records.tally.took(found, 2)
        for row in self._clocks.due(found):
            kept = unpack(row)
            self.records.sample(kept.message, kept.received_ms)

    def _send(self, found: Sequence[Record]) -> None:
        """The short way for what is plain: QoS 1, sent once, no properties, known topic, value as it came."""
        plain, size, known = self._plain, HEAD.size, max(self._done.last + 1, self._done.doubtful)
        most, join, place = self._settings.batch_bytes, b"".join, self._place
        stamp = tail = common = b""
        self._now_ms = now_ms = time.time_ns() // 1_000_000  # of the log; when a message came is in its headers
        for row in found:
            if len(row) != PLAIN or row[0] < known:
                self._send_one(unpack(row))
                continue
            position, head, topic, payload = cast("tuple[int, bytes, bytes, bytes]", row)
            way = plain.get(topic)
            if way is None or head[size - 1] != QOS_1:
                self._send_one(unpack(row))
                continue
            if head[:8] != stamp or head[size:] != tail:
                stamp, tail = head[:8], head[size:]
                common = header_blocks(((headers.SESSION, tail), (headers.RECEIVED_AT, stamp)))
            lane, key, first = way
            if lane.section.size + len(payload) > most:
                lane.flush()
            section = lane.section
            number, sequence = head[16:18], head[8:16]
            blocks = join(
                (first, common, PACKET_ID_BLOCK, number, SEQUENCE_BLOCK, sequence, place, position.to_bytes(8, "big"))
            )
            section.add(key, payload, blocks, now_ms)
            lane.places.append(position)

    def _send_one(self, kept: Kept) -> None:
        position, message, more = kept.position, kept.message, kept.more
        if position in self._done.whole:
            self._done.whole.discard(position)
            return
        values = self._values(kept)
        routed, decoded = values
        there = more.there | self._done.partly.pop(position, set())
        parts = [part for part in range(len(decoded)) if part not in there]
        if not parts:
            self._settle(filtered=not decoded)
            return
        doubt = more.doubt or (self._done.doubt if position < self._done.doubtful else "")
        self._counts.possible_duplicates += bool(doubt)
        place = ((headers.SPOOL, self._own + headers.number(position)),)
        receipt = Receipt(kept.session, kept.received_ms, kept.sequence, doubt, more.digest, place, self._now_ms)
        self.records.put(message, values, parts, receipt, position)
        if routed.decoder is None and routed.refusal is None and len(message[1]) <= MOST_TOPIC_BYTES:
            if len(self._plain) >= MOST_TOPICS:
                self._plain.clear()
            self._plain[message[1]] = routed.lane, key_block(routed.key), head_of(routed, 5)

    def _values(self, kept: Kept) -> Values:
        _, topic, _, payload, _ = kept.message
        if kept.more.refused:
            return self.records.refuse(topic, TOO_LARGE, kept.more.refused, payload)
        return self.records.decode(kept.message, kept.received_ms)

    def _settle(self, *, filtered: bool) -> None:
        self._counts.waiting -= 1
        if filtered:
            self._counts.filtered += 1
        else:
            self._counts.recognised += 1

    def _written(self, topic: str, messages: int) -> None:
        self._counts.waiting -= messages
        if topic == topics.DEAD_LETTERS:
            self._counts.dead_lettered += messages
        else:
            self._counts.written += messages

    def _moved(self) -> None:
        assert self.outlet is not None  # noqa: S101 - only an outlet calls this
        settled = self.outlet.settled(self._cursor)
        if settled <= self.settled:
            return
        self.settled = settled
        self._news.set()
        before = self._spool.oldest
        try:
            self._spool.trim(settled)
        except Permanent as error:
            _log.error("the spool cannot give up what is in Kafka", why=str(error), hint=error.hint)
        if self._spool.oldest > before:
            self.room.set()
