"""From MQTT into the spool: a message is acknowledged once it is durable on this box's disk.

Order of effects, and what a kill between each two leaves:
 1. A message is received and appended. Killed here: the broker sends it again, nobody has it.
 2. It is synced. Killed here: the broker sends it again, the spool shows it, it is acknowledged only.
 3. It is acknowledged to MQTT. From here on the drainer owes it to Kafka.
One sync is always under way while messages come, and what arrives meanwhile shares the next: so a broker that sends
twenty messages ahead at most is answered after one sync, not after a turn of Kafka.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Protocol

import structlog

from edge_agent.bridge.counts import Counts
from edge_agent.bridge.recogniser import Recogniser, digest
from edge_agent.bridge.records import KEPT_OF_LARGE, PLAIN_BYTES, too_large
from edge_agent.bridge.settings import SpoolSettings
from edge_agent.bridge.spooled_rows import More, pack
from headwater.contract.errors import BadInput, Permanent
from headwater.transport.mqtt.packets import DUP, QOS_1, Publish
from headwater.transport.mqtt.source import Batch, MqttSource
from headwater.transport.retry import pauses
from headwater.transport.spool import Full, Gap, Spool

MOST_UNSYNCED_BYTES = 16 << 20
_FULL_LOOK_S = 1.0
_ROOM_LOOK_S = 0.2
_RETRY_S = 2.0  # longest pause between two tries to write
_PLAIN = bytes([QOS_1])
_NUMBER = slice(16, 18)  # of a head: the packet id

Parts = tuple[bytes, ...]
_log = structlog.get_logger(__name__)


class Drain(Protocol):
    """What the intake needs of the drainer."""

    room: asyncio.Event  # set when a part of the spool was deleted

    def wake(self) -> None:
        """There is more to read."""
        ...

    def lose(self, gap: Gap) -> None:
        """Positions that the spool does not hold any more."""
        ...


class Intake:
    """One source, one spool, one life."""

    def __init__(
        self,
        source: MqttSource,
        spool: Spool,
        recogniser: Recogniser,
        drain: Drain,
        counts: Counts,
        settings: SpoolSettings,
        receive_maximum: int,
    ) -> None:
        self.counts = counts
        self.unstored = 0  # messages that were taken in and are not appended yet
        self._source = source
        self._spool = spool
        self._recogniser = recogniser
        self._drain = drain
        self._policy = settings.full
        self._most_bytes = settings.bytes
        self._nearly_full = settings.bytes * 3 // 4
        self._receive_maximum = receive_maximum
        self._epoch = 0
        self._place = 0  # of the next message, in the order of receipt
        self._first_place = 0  # of this connection
        self._appended = 0  # all before this place are in the spool, synced or not
        self._acknowledged = 0  # all before this place are
        self._session = b""
        self._now_ms = 0
        self._unsynced = 0  # bytes, of large messages
        self._news = asyncio.Event()  # something was appended
        self._synced = asyncio.Event()
        self._is_full = self._is_failing = False
        self._full_told = asyncio.Event()  # and not yet that it is over

    @property
    def unacknowledged(self) -> int:
        """Messages of this connection that MQTT has not been told about."""
        return self._place - self._acknowledged

    async def run(self) -> None:
        """Take in messages until it is cancelled; raises what the source raises."""
        tasks = [asyncio.create_task(each) for each in (self._read(), self._sync(), self._tell_room())]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def finish(self) -> None:
        """After `run`: make durable and acknowledge what was appended, with one try."""
        with suppress(Permanent):  # it was said; the broker sends it again
            await self._spool.commit()
            self._acknowledge(self._appended)

    async def _read(self) -> None:
        while True:
            await self.store(*self.take(await self._source.read()))

    def take(self, batch: Batch) -> tuple[list[Parts], list[int]]:
        """Sort out what was had before; what the spool has to take, and the place of each."""
        self._now_ms = time.time_ns() // 1_000_000
        if batch.epoch != self._epoch:
            self._begin(batch)
        self.counts.received += len(batch.messages)
        rows: list[Parts] = []
        places: list[int] = []
        orphans = self._recogniser.orphans
        if orphans and self._place - self._first_place > 2 * self._receive_maximum:
            orphans.clear()  # redeliveries come first: what did not come has expired
        spare = self._policy == "drop-qos0" and self._spool.bytes > self._nearly_full
        recogniser, young, place = self._recogniser, self._recogniser.young, self._place
        stamp, tail = self._now_ms.to_bytes(8, "big"), _PLAIN + self._session
        for message in batch.messages:
            first, topic, packet_id, payload, known = message
            if first != QOS_1 or known or orphans or len(topic) + len(payload) > PLAIN_BYTES:
                self._take(message, place, rows, places, spare=spare)
            else:
                recogniser.sequence = sequence = recogniser.sequence + 1
                young[packet_id] = (hash((topic, payload)), place, sequence)
                rows.append((b"".join((stamp, sequence.to_bytes(8, "big"), packet_id, tail)), topic, payload))
                places.append(place)
            place += 1
        self._place = place
        self.counts.waiting += len(rows)
        recogniser.forget(self._acknowledged, place)
        return rows, places

    def _begin(self, batch: Batch) -> None:
        self._epoch = batch.epoch
        present = batch.session_present
        self._session = self._recogniser.begin(self._acknowledged, self._now_ms, session_present=present)
        self._first_place = self._acknowledged = self._place

    def _take(self, message: Publish, place: int, rows: list[Parts], places: list[int], *, spare: bool) -> None:
        """One message that is not plain."""
        first, topic, packet_id, payload, properties = message
        if spare and not packet_id:
            self.counts.dropped += 1
            return
        recogniser = self._recogniser
        entry = recogniser.find(message) if packet_id else None
        there: frozenset[int] = frozenset()
        doubt = ""
        if entry is None:
            sequence = recogniser.remember(message, place)
            doubt = recogniser.doubt if first & DUP else ""
        else:
            recogniser.keep(packet_id, entry, place)
            if not recogniser.is_partial(packet_id, entry):
                self.counts.recognised += 1
                return
            sequence, there = entry[2], frozenset(recogniser.there(packet_id))
        refused, whole = too_large(payload, properties), b""
        if refused:
            whole, properties = digest(topic, payload), ()
            message = (first, topic, packet_id, payload[:KEPT_OF_LARGE], ())
        more = More(properties, refused, whole, there, doubt)
        rows.append(pack(message, self._now_ms, sequence, self._session, more))
        places.append(place)
        self._unsynced += len(topic) + len(payload)

    async def store(self, rows: list[Parts], places: list[int]) -> None:
        """Append rows, which waits while the spool is full or its disk fails; places as `take` gave them."""
        at, size = 0, len(rows)
        while at < len(rows):
            self.unstored = len(rows) - at
            piece = rows[at : at + size]
            try:
                self._spool.append(piece)
            except (Full, BadInput) as error:
                if size > 1:
                    size = (size + 1) // 2  # what fits goes in
                    continue
                if not isinstance(error, Full):
                    raise
                rows[at:], places[at:] = await self._make_room(rows[at:], places[at:], error)
                continue
            except Permanent:  # `_sync` says why, and goes on trying
                self._synced.clear()
                await self._synced.wait()
                continue
            at += size
            size *= 2
            self._appended = places[at] if at < len(places) else self._place
            self._news.set()
        self.unstored = 0
        self._appended = self._place
        self._news.set()
        while self._unsynced > MOST_UNSYNCED_BYTES:
            self._synced.clear()
            await self._synced.wait()
        if self._is_full:
            self._is_full = False
            self._source.resume()

    async def _make_room(self, rows: list[Parts], places: list[int], why: Full) -> tuple[list[Parts], list[int]]:
        """Give up or wait as the policy says; what is still to be stored."""
        if not self._is_full:
            self._is_full = True
            self._source.pause()
            if not self._full_told.is_set():
                self._full_told.set()
                _log.warning("the spool is full", policy=self._policy, why=str(why), hint=why.hint)
        if self._policy == "drop-qos0":
            keep = [at for at, row in enumerate(rows) if row[0][_NUMBER] != b"\0\0"]
            if len(keep) < len(rows):
                self._drop(len(rows) - len(keep))
                return [rows[at] for at in keep], [places[at] for at in keep]
        if self._policy == "drop-oldest":
            gap = self._spool.drop_oldest(1)
            if gap.start < gap.end:
                self._drain.lose(gap)
                return rows, places
        self._drain.room.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._drain.room.wait(), _FULL_LOOK_S)
        return rows, places

    async def _tell_room(self) -> None:
        """A spool that drains is full again and again; that is one story, which ends when a quarter of it is free."""
        while True:
            await self._full_told.wait()
            while self._is_full or self._spool.bytes > self._nearly_full:  # noqa: ASYNC110 - two things at once
                await asyncio.sleep(_ROOM_LOOK_S)
            self._full_told.clear()
            _log.info("the spool takes messages again", free_bytes=self._most_bytes - self._spool.bytes)

    def _drop(self, count: int) -> None:
        self.counts.dropped += count
        self.counts.waiting -= count

    async def _sync(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            place, bytes_then = self._appended, self._unsynced
            await self._commit()
            self._unsynced -= bytes_then
            self._synced.set()
            self._acknowledge(place)
            self._drain.wake()

    async def _commit(self) -> None:
        for pause in pauses(0.1, _RETRY_S):
            try:
                await self._spool.commit()
            except Permanent as error:
                if not self._is_failing:
                    self._is_failing = True
                    what = "the spool cannot be written; MQTT is not acknowledged until it can"
                    _log.error(what, why=str(error), hint=error.hint)
                await asyncio.sleep(pause)
                continue
            if self._is_failing:
                self._is_failing = False
                _log.info("the spool can be written again")
            return

    def _acknowledge(self, place: int) -> None:
        count = place - self._acknowledged
        if count > 0:
            self._acknowledged = place
            self._source.acknowledge(count, self._epoch)
