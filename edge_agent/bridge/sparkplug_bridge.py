"""The way of a Sparkplug message: received, recognised, taken by the host, written with what it caused, acknowledged.

Messages of the Sparkplug route leave the way of bridge.py in `_receive`; all others take it as ever. A message that
waits for an earlier one stays in `_pending`, and nothing behind it is acknowledged (contract/sparkplug/host.py bounds
the wait). Its records then come after those of younger messages, so its place is `late` until they are safe.

A message's records are its readings and the events of its birth, numbered as its parts: those that a former life wrote
are not written again. Stale intervals are told by the host's state, not by a message: they are no parts, and one that a
killed life told may be told again.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import structlog

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.outlet import SectionWriter
from edge_agent.bridge.recogniser import FROM_LOG, Recogniser
from edge_agent.bridge.records import KEPT_OF_LARGE, MOST_PAYLOAD_BYTES, Receipt, known_headers, too_large
from edge_agent.bridge.routes import matches_of
from edge_agent.bridge.settings import BridgeSettings
from edge_agent.bridge.sparkplug import Sparkplug, now_ms
from edge_agent.bridge.sparkplug_beside import Beside
from edge_agent.bridge.sparkplug_marks import Former, Settled, Stands, started_of
from edge_agent.bridge.sparkplug_states import States, is_saved, void
from headwater.contract import headers, topics
from headwater.contract.decoders import Decoded
from headwater.contract.decoders.reasons import TOO_LARGE
from headwater.contract.errors import Defect
from headwater.contract.partitioning import partition_of
from headwater.contract.sparkplug import Outcome, Refusal
from headwater.contract.sparkplug.addresses import state
from headwater.transport.mqtt.packets import DUP, Publish
from headwater.transport.mqtt.source import Batch, MqttSource

_LEAST_S, _MOST_MS = 0.01, 1000  # between two looks at what is due

_log = structlog.get_logger(__name__)


class _Pending(NamedTuple):
    message: Publish
    receipt: Receipt
    known: set[int] | None  # parts that Kafka has; None: it has the message whole


class SparkplugBridge(Bridge):
    """A bridge with a Sparkplug route; see Bridge for what is not said here."""

    def __init__(
        self,
        sparkplug: Sparkplug,
        source: MqttSource,
        writer: SectionWriter,
        recogniser: Recogniser,
        settings: BridgeSettings,
        **more: Any,
    ) -> None:
        super().__init__(source, writer, recogniser, settings, **more)
        self._host = sparkplug.host
        self._presence = sparkplug.presence
        self._options = sparkplug.options
        (self._route,) = matches_of([sparkplug.route], sparkplug.site)
        self._state_topic = state(self._options.host_id).encode()
        self._class = ((headers.CLASS, headers.text(name)),) if (name := sparkplug.route.asset_class) else ()
        self._event_partitions = more["partitions"][topics.SPARKPLUG_EVENTS]
        self._pending: dict[int, _Pending] = {}  # by place, ascending
        self._late: set[int] = set()
        self._beside = Beside(writer, self.outlet, self._acknowledge)
        self._states = States(self._host, self._beside, sparkplug.site)
        self._settled = Settled(sparkplug.settled, 4 * self._receive_maximum)
        self._stands = sparkplug.stands
        self._former = Former(recogniser)
        self._unsaved = sparkplug.unsaved
        self._at_rest = asyncio.Event()
        self._stopping = False
        self._presence.on_loss = self._lost
        self._now_ms = now_ms()
        self._apply(sparkplug.began)

    @property
    def held_back(self) -> int:
        """Messages that wait for an earlier one."""
        return len(self._pending)

    async def run(self, stop: asyncio.Event) -> None:
        """See Bridge. At the end the states are written as they are then, and a primary host says that it goes."""
        ticking = asyncio.create_task(self._tick(stop))
        ticking.add_done_callback(self._ticked)
        try:
            await super().run(stop)
            await self._finish()
        finally:
            self._presence.on_loss = lambda: None
            ticking.cancel()
            await asyncio.wait([ticking])
        for each in self._host.goodbye(now_ms()):
            self._presence.publish(each)
        _log.info("sparkplug stopped", **{name.replace(" ", "-"): n for name, n in sorted(self._host.counts.items())})

    async def _finish(self) -> None:
        """Write all states, as far as what they stand for is safe within `drain_s`."""
        self._states.mark_all(self._place)
        self._acknowledge()
        resting = asyncio.create_task(self._at_rest.wait())
        either: list[asyncio.Future[Any]] = [self.outlet.failed, resting]
        await asyncio.wait(either, timeout=self._drain_s, return_when=asyncio.FIRST_COMPLETED)
        resting.cancel()
        await asyncio.wait([resting])

    async def _tick(self, stop: asyncio.Event) -> None:
        """Tell the host that time passes. What comes while this sleeps is not due before it wakes up."""
        while True:
            self._stopping = stop.is_set()
            due = self._host.next_tick_ms()
            now = now_ms()
            if due is not None and due <= now:
                self._now_ms = now
                self._apply(self._host.tick(now))
                self.outlet.flush()
                due = self._host.next_tick_ms()
            self._acknowledge()  # states may have rested
            wait = min(self._options.reorder_ms, _MOST_MS, now + _MOST_MS if due is None else due - now)
            await asyncio.sleep(max(_LEAST_S, wait / 1000))

    def _ticked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.outlet.fail(Defect(f"the sparkplug host broke: {error!r}"))

    def _begin(self, batch: Batch) -> None:
        super()._begin(batch)
        if self._recogniser.session != self._former.session:
            void(self._host, self._unsaved)
        self._unsaved = []
        self._apply(self._host.connected())

    def _lost(self) -> None:
        self._now_ms = now_ms()
        self._apply(self._host.disconnected(self._now_ms))
        self._acknowledge()

    def _receive(self, message: Publish) -> None:
        topic = message[1]
        if self.records.table.of(topic).route != self._route and topic != self._state_topic:
            super()._receive(message)
            return
        place = self._place
        self._place += 1
        found = self._recognised(message, place)
        if found is None:
            self.counts.recognised += 1
            return
        self.counts.waiting += 1
        self._idle.clear()
        self._pending[place] = found
        self._apply(self._host.take(place, topic.decode(), message[3], self._now_ms))

    def _recognised(self, message: Publish, place: int) -> _Pending | None:
        """What is known of a message; None where the host knows it already: it takes each once a life."""
        first, _, packet_id, _, _ = message
        entry = self._recogniser.find(message) if packet_id else None
        if entry is None:
            sequence = self._recogniser.remember(message, place)
            doubt = self._recogniser.doubt if first & DUP else ""
            self.counts.possible_duplicates += bool(doubt)
            return _Pending(message, Receipt(self._session, self._now_ms, sequence, doubt), set())
        sequence = entry[2]
        is_partial = self._recogniser.is_partial(packet_id, entry)
        self._recogniser.keep(packet_id, (entry[0], place, sequence), place)
        for at, waits in self._pending.items():
            if waits.receipt.sequence == sequence and waits.receipt.session == self._session:
                del self._pending[at]
                self.counts.waiting -= 1
                self.counts.recognised += 1
                return waits._replace(message=message)
        if entry[1] != FROM_LOG:
            return None
        self._former.came(sequence)
        if is_saved(self._stands, message[1].decode(), started_of(self._recogniser.session), sequence):
            self._settled.add(message, self._session, sequence)
            return None
        known = self._recogniser.there(packet_id) if is_partial else None
        return _Pending(message, Receipt(self._session, self._now_ms, sequence), known)

    def _apply(self, out: Outcome) -> None:
        """Hand over what came of a call of the host."""
        floor = min([each.token for each in out.settled if isinstance(each.token, int)], default=self._place - 1)
        births: dict[object, list[Decoded]] = {}
        for event in out.events:
            if event.kind == "birth":
                births.setdefault(event.token, []).append(event.record)
            else:
                known = (*self._class, (headers.RECEIVED_AT, headers.number(self._now_ms)))
                self._event(event.record, known, floor, self._now_ms)
        for token, result in out.settled:
            if isinstance(token, int) and (pending := self._pending.pop(token, None)) is not None:
                self._settle(token, pending, result, births.get(token, []))
        for node in out.changed:
            self._states.mark(node, floor)
        for publish in out.publishes if not self._stopping else ():
            self._presence.publish(publish)

    def _settle(self, place: int, pending: _Pending, result: list[Decoded] | Refusal, births: list[Decoded]) -> None:
        message, receipt, known = pending
        if known is None:
            self._done_without("recognised", pending)
            return
        if isinstance(result, Refusal):
            values = self.records.refuse(message[1], *_kept(result, message[3]))
            readings, births = 1, []
        else:
            values = self.records.table.of(message[1]), [*result, *births]
            readings = len(result)
            if beyond := self.records.beyond(message, *values):
                values = self.records.refuse(message[1], TOO_LARGE, beyond, message[3])
                readings, births = 1, []
        missing = [part for part in range(readings + len(births)) if part not in known]
        for part in missing:
            if part >= readings:
                self._birth(values[1][part], part, len(values[1]), pending, place)
        missing = [part for part in missing if part < readings]
        if not missing:
            self._done_without("recognised" if known else "filtered", pending)
            return
        if place < self._place - 1:
            self._late.add(place)
            self.outlet.parts[place] = len(missing)
        self.records.put(message, values, missing, receipt, place)

    def _done_without(self, what: str, pending: _Pending) -> None:
        if not pending.known:
            self._settled.add(pending.message, pending.receipt.session, pending.receipt.sequence)
        setattr(self.counts, what, getattr(self.counts, what) + 1)
        self.counts.waiting -= 1
        if not self.counts.waiting:
            self._idle.set()

    def _birth(self, event: Decoded, part: int, parts: int, pending: _Pending, place: int) -> None:
        message, receipt, _ = pending
        known = (*known_headers(message, self.records.table.of(message[1]), receipt), *event.headers)
        if parts > 1:
            known += ((headers.PART, headers.number(part)), (headers.PARTS, headers.number(parts)))
        self._event(event, known, place, receipt.now_ms)

    def _event(self, event: Decoded, known: headers.Headers, place: int, stamp_ms: int) -> None:
        key = headers.text(event.asset or "")
        to = topics.SPARKPLUG_EVENTS, partition_of(key, self._event_partitions)
        self._beside.put(to, place, key, event.value, known, stamp_ms)

    def _acknowledge(self) -> None:
        self._late = {place for place in self._late if place in self.outlet.parts}
        if not self._states.is_empty:
            self._states.build(self._place, self._known)
            safe = min((self.outlet.settled(self._place), self._beside.floor(self._place), *self._late))
            self._states.go(safe, now_ms())
        self._beside.flush()
        if self._states.is_empty and self._beside.is_empty:
            self._at_rest.set()
        else:
            self._at_rest.clear()
        super()._acknowledge()

    def _end(self) -> int:
        first = next(iter(self._pending), self._place)
        return min((first, self._beside.floor(first), self._states.floor(first), *self._late))

    def _known(self, node: str) -> headers.Headers:
        """What a state that is built now stands for."""
        session = headers.text(self._recogniser.session)
        started, unseen = started_of(self._recogniser.session), []
        if self._former.session == self._recogniser.session:
            stands = self._stands.get(node, Stands())
            unseen = [each for outside in self._former.ranges() for each in stands.missing(started, *outside)]
        for each in self._pending.values():
            if each.receipt.session == session:
                unseen.append((each.receipt.sequence - 1, each.receipt.sequence))
        known = Stands(started, self._recogniser.sequence, tuple(unseen)).written(session)
        settled = self._settled.of(session)
        return (*known, (headers.SETTLED, settled)) if settled else known


def _kept(result: Refusal, payload: bytes) -> tuple[str, str, bytes]:
    """Reason, detail, and as much of the payload as fits a record."""
    if len(payload) <= MOST_PAYLOAD_BYTES:
        return result.reason, result.detail, payload
    return result.reason, f"{result.detail}; {too_large(payload, ())}", payload[:KEPT_OF_LARGE]
