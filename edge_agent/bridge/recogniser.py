"""Telling a redelivered message from a new one, exactly.

What MQTT gives at QoS 1, with R the receive maximum:
 a. A packet id is not used for another message until its acknowledgement has reached the broker ([MQTT-2.2.1-4]).
 b. The broker has at most R messages open ([MQTT-3.3.4-9]). We acknowledge in the order of receipt, so the open ones
    are the last ones it sent in this session. A broker that breaks this (far.py) may have more than R open, and what
    is older than these is remembered by hashes.
 c. On a new connection to the same session it sends the open ones again, in their order, with DUP = 1, and then goes
    on ([MQTT-4.4.0-1], [MQTT-4.6.0-1]). DUP = 1 alone does not say that we had it: it may never have arrived.

So for each packet id only the last message that carried it can be open, and one entry an id is enough. A message with
DUP = 1 is a redelivery of the entry of its id if topic and payload are the same; if they differ, or there is no entry,
it never was taken in, and is new.

Within one life the entries are what was received. At a start they come from the log: the former life is fenced off,
so what it wrote is final. A partition holds its messages in the order of receipt, each session's sequence is in the
headers. Behind an open message stand at most R that came after it (b), R that came before it but were written by a
later life, and 2 R at QoS 0 (bridge.py drops more): what can be open is among the last 4 R sequences of the session
(tails.py reads as far back). Recognised ones are acknowledged, and not written again. Of a message that became several
records, those that are missing are written.

What could go wrong is taking a new message for an old one, that is, losing it. Its id, topic and payload would have
to be those of the last record under that id, which was acknowledged already. Brokers that count ids upwards reuse one
after 65,535 messages: an entry that far behind the newest is not believed (the bound is three quarters). A broker that
reuses the lowest free id at once can make such a pair with payloads that repeat byte for byte (without a time in
them); there the two cases cannot be told apart by anyone, and the redelivery is believed.

Within one life more is known: an entry whose acknowledgement never left has not been closed, so by (a) its id on a new
connection is a redelivery, even from a broker that restarted and forgot to set DUP.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from edge_agent.bridge.far import FAR, Entry, Far, Reach, reach_of
from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.records import Record
from headwater.transport.mqtt.packets import DUP, Publish

_DIGITS = 20  # of a time in ms
FROM_LOG = -1  # place of what a former life wrote


class Mark(NamedTuple):
    """Where a record came from, as its headers say."""

    started: int  # ms, of the session
    sequence: int
    session: str
    packet_id: bytes
    digest: bytes
    part: int
    parts: int


def digest(topic: bytes, payload: bytes) -> bytes:
    """Eight bytes that stand for a message's topic and payload."""
    return blake2b(payload, digest_size=8, key=blake2b(topic, digest_size=16).digest()).digest()


class Recogniser:
    """The last message under each packet id of one MQTT session, and the receive sequence of that session.

    `most` is how many of the newest messages are remembered at least: R, or what a broker keeps open beyond it.
    `young` may be written to directly, by packet id, for messages that cannot be redeliveries. `far` knows older ones;
    of those up to the sequence `floor` that a former life took in, it knows what depth.py has told it.
    """

    def __init__(self, client_id: str, now_ms: int, most: int) -> None:
        self.client_id = client_id
        self._most = most
        self._started = 0
        self.buried = False  # what a former life wrote may lie behind the records of others; depth.py digs for it
        self.doubt = ""  # why a message with DUP that was not found may have been written after all
        self.begin_session(now_ms)

    def learn(self, marks: Iterable[Mark]) -> None:
        """Learn from what several logs tell, whatever the order, before the first connection."""
        self._marks.update(marks)
        if not self._marks:
            return
        self.buried = False
        self.young.clear()
        self._there.clear()
        mine = sorted(self._marks)
        last = mine[-1]
        self.floor = max(0, last.sequence - 4 * self._most)
        self._started, self.sequence, self.session = last.started, last.sequence, last.session
        known_ids = {
            mark.sequence: int.from_bytes(mark.packet_id, "big")
            for mark in mine
            if mark.started == last.started and mark.packet_id and mark.sequence > self.floor
        }
        self.reach: Reach | None = reach_of(list(known_ids.values()), self._most)
        for mark in mine:
            if mark.started != last.started or not mark.packet_id or last.sequence - mark.sequence >= FAR:
                continue
            if mark.sequence <= self.floor:  # not open, unless the broker sent too far ahead
                self.far.log(mark.packet_id, mark.sequence, mark.digest)
            else:
                known = self.young.get(mark.packet_id)
                self.young[mark.packet_id] = (mark.digest, FROM_LOG, mark.sequence)
                before = self._there.pop(mark.packet_id, set())
                there = {mark.part, *(before if known and known[2] == mark.sequence else ())}
                if len(there) < mark.parts:  # a table of routes that makes other parts finishes nothing that is whole
                    self._there[mark.packet_id] = there
        self._young_since = max(0, min((entry[2] for entry in self.young.values()), default=0) - 1)

    def begin_session(self, now_ms: int) -> None:
        """Forget: the broker has no session of ours, so it owes us nothing."""
        self._marks: set[Mark] = set()
        self._started = max(now_ms, self._started + 1)  # sessions stay in order when a clock is set back
        self.session = f"{self.client_id}@{self._started}"
        self.sequence = self.floor = 0
        self.far = Far()
        self.reach = None
        self.young: dict[bytes, Entry] = {}
        self._old: dict[bytes, Entry] = {}
        self._old_until = 0  # all places in it are below
        self._old_since = self._young_since = 0  # their messages came behind these sequences
        self._there: dict[bytes, set[int]] = {}
        self.orphans: set[bytes] = set()

    def begin(self, settled: int, now_ms: int, *, session_present: bool) -> bytes:
        """Begin a connection, all places below `settled` acknowledged; the session as headers have it."""
        if session_present:
            self.begin_connection(settled)
        else:
            self.begin_session(now_ms)
        return headers.text(self.session)

    def begin_connection(self, settled: int) -> None:
        """What has not been acknowledged by now will be sent again, even by a broker that forgets to set DUP."""
        self._marks = set()
        self.orphans = {
            packet_id
            for entries in (self._old, self.young)
            for packet_id, (_, place, _) in entries.items()
            if place >= settled
        }

    def find(self, message: Publish) -> Entry | None:
        """The entry that this message repeats, if it does."""
        first, topic, packet_id, payload, _ = message
        entry = self.young.get(packet_id) or self._old.get(packet_id)
        if entry is None:
            if not first & DUP or not self._is_far(message):
                return None
            return hash((topic, payload)), 0, 0
        if not (first & DUP or packet_id in self.orphans):
            return None
        was = entry[0]
        same = was == (digest(topic, payload) if isinstance(was, bytes) else hash((topic, payload)))
        self.orphans.discard(packet_id)
        return entry if same else None

    def _is_far(self, message: Publish) -> bool:
        _, topic, packet_id, payload, _ = message
        return self.far.has(packet_id, topic, payload, digest(topic, payload), self.sequence)

    def is_out_of_sight(self, message: Publish) -> bool:
        """Whether a former life may have taken in this first redelivery, or one behind it, and nobody here knows."""
        if not self.floor or not message[0] & DUP:
            return False
        if self.reach is not None and self.reach.covers(message[2], self._most):
            return False
        entry = self.find(message)
        return entry is None or entry[2] <= self.floor

    def is_partial(self, packet_id: bytes, entry: Entry) -> bool:
        """Whether a former life may have written some records of this message, and not others."""
        return entry[1] == FROM_LOG and packet_id in self._there

    def missing(self, packet_id: bytes, parts: int) -> list[int]:
        """Which records of a message that was recognised a former life did not write."""
        there = self.there(packet_id)
        return [part for part in range(parts) if part not in there]

    def there(self, packet_id: bytes) -> set[int]:
        """Which records of a message that was recognised a former life wrote; the message is whole from now on."""
        return self._there.pop(packet_id)

    def remember(self, message: Publish, place: int) -> int:
        """Take in a new message; its sequence."""
        self.sequence += 1
        _, topic, packet_id, payload, _ = message
        if packet_id:
            self._there.pop(packet_id, None)
            self.young[packet_id] = (hash((topic, payload)), place, self.sequence)
        return self.sequence

    def keep(self, packet_id: bytes, entry: Entry, place: int) -> None:
        """Take in a message that was recognised: it is among the newest again."""
        self.young[packet_id] = (entry[0], place if entry[1] != FROM_LOG else FROM_LOG, entry[2])

    def forget(self, settled: int, place: int) -> None:
        """Fold the older half once it is settled; call it after each read, with the place of the next message.

        A half is as many messages, not as many ids: where ids are few, it would become older than `Far` believes.
        """
        most = self._most
        if (len(self.young) < most and self.sequence - self._young_since < most) or self._old_until > settled:
            return
        if self._old:
            self.far.fold(self._old, self._old_since, self.sequence)
        old = self.young
        partial = {number: entry for number in self._there if (entry := old.get(number)) and entry[1] == FROM_LOG}
        self._old, self.young, self._old_until = old, partial, place
        self._old_since, self._young_since = self._young_since, self.sequence


def mark_of(record: Record, client_id: str) -> Mark | None:
    """Where a record came from, if it came through this client id."""
    found = dict(record.headers)
    session, name, started = _session_of(found.get(headers.SESSION) or b"")
    if name != client_id:
        return None
    try:
        sequence = headers.find_number(record.headers, headers.SEQUENCE)
        packet_id = headers.find_number(record.headers, headers.PACKET_ID)
        part = headers.find_number(record.headers, headers.PART) or 0
        parts = headers.find_number(record.headers, headers.PARTS) or 1
    except BadInput:
        return None  # written by somebody else
    if sequence is None or packet_id is None or not 0 <= packet_id < 65_536:
        return None
    if headers.SPOOL in found:
        part, parts = 0, 1  # the spool had the message whole
    content = found.get(headers.DIGEST) or digest(found.get(headers.MQTT_TOPIC) or b"", record.value or b"")
    number = packet_id.to_bytes(2, "big") if packet_id else b""
    return Mark(started, sequence, session, number, content, part, parts)


@lru_cache(maxsize=64)
def _session_of(value: bytes) -> tuple[str, str | None, int]:
    """A session, the client id in it (None: it is no session), and when it began in ms; marks share one of each."""
    session = value.decode("utf-8", "replace")
    name, _, started = session.rpartition("@")
    return (session, name, int(started)) if started.isdecimal() and len(started) < _DIGITS else (session, None, 0)
