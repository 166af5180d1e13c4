"""Telling a redelivered message from a new one, exactly.

What MQTT gives at QoS 1, with R the receive maximum:
 a. A packet id is not used for another message until its acknowledgement has reached the broker ([MQTT-2.2.1-4]).
 b. The broker has at most R messages open ([MQTT-3.3.4-9]). We acknowledge in the order of receipt, so the open ones
    are the last ones it sent in this session.
 c. On a new connection to the same session it sends the open ones again, in their order, with DUP = 1, and then goes
    on ([MQTT-4.4.0-1], [MQTT-4.6.0-1]). DUP = 1 alone does not say that we had it: it may never have arrived.

So for each packet id only the last message that carried it can be open, and one entry an id is enough. A message with
DUP = 1 is a redelivery of the entry of its id if topic and payload are the same; if they differ, or there is no entry,
it never was taken in, and is new.

Within one life the entries are what was received. At a start they come from the log: the former life is fenced off,
so what it wrote is final. A partition holds its messages in the order of receipt, each session's sequence is in the
headers. Behind an open message stand at most R that came after it (b), R that came before it but were written by a
later life, and 2 R at QoS 0 (bridge.py drops more): tails of 4 R records hold all that can be open. Recognised ones
are acknowledged, and not written again.

What could go wrong is taking a new message for an old one, that is, losing it. Its id, topic and payload would have
to be those of the last record under that id, which was acknowledged already. Brokers that count ids upwards reuse one
after 65,535 messages: an entry that far behind the newest is not believed (the bound is half of that). A broker that
reuses the lowest free id at once can make such a pair with payloads that repeat byte for byte (without a time in
them); there the two cases cannot be told apart by anyone, and the redelivery is believed.

Within one life more is known: an entry whose acknowledgement never left has not been closed, so by (a) its id on a new
connection is a redelivery, even from a broker that restarted and forgot to set DUP.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.records import Record
from headwater.transport.mqtt.connection import Message

FAR = 1 << 15  # of the 65,535 packet ids


class Entry:
    """A message that was taken in: where it came from, and how far it got."""

    __slots__ = ("acknowledged", "digest", "epoch", "sequence", "written")

    def __init__(self, digest: bytes, sequence: int, epoch: int, *, written: bool = False) -> None:
        self.digest = digest
        self.sequence = sequence
        self.epoch = epoch
        self.written = written
        self.acknowledged = written


def digest(topic: bytes, payload: bytes) -> bytes:
    """Eight bytes that stand for a message's topic and payload."""
    return blake2b(payload, digest_size=8, key=blake2b(topic, digest_size=16).digest()).digest()


class Recogniser:
    """The last message under each packet id of one MQTT session, and the receive sequence of that session."""

    def __init__(self, client_id: str, now_ms: int, most: int) -> None:
        self._client_id = client_id
        self._started = 0
        self.begin_session(now_ms)
        self._most = most

    def read(self, tail: Iterable[Record]) -> None:
        """Learn from the tails of all partitions, whatever their order; records of others are passed over."""
        mine = sorted((found for record in tail if (found := _remembered(record, self._client_id))), key=lambda m: m[0])
        if not mine:
            return
        self._started, self.sequence = mine[-1][0]
        self.session = mine[-1][1]
        for (started, sequence), _, packet_id, content in mine:
            if started == self._started and packet_id and self.sequence - sequence < FAR:
                self._entries[packet_id] = Entry(content, sequence, epoch=0, written=True)

    def begin_session(self, now_ms: int) -> None:
        """Forget: the broker has no session of ours, so it owes us nothing."""
        self._started = max(now_ms, self._started + 1)  # sessions stay in order when a clock is set back
        self.session = f"{self._client_id}@{self._started}"
        self.sequence = 0
        self._entries: dict[int, Entry] = {}

    def find(self, message: Message, content: bytes, epoch: int) -> Entry | None:
        """The entry that this message of connection `epoch` repeats, if it does."""
        entry = self._entries.get(message.packet_id)
        if entry is None or entry.digest != content:
            return None
        if not message.dup and (entry.acknowledged or entry.epoch == epoch):
            return None
        entry.epoch = epoch
        return entry

    def remember(self, message: Message, content: bytes, epoch: int) -> Entry:
        """Take in a new message."""
        self.sequence += 1
        entry = Entry(content, self.sequence, epoch)
        if message.packet_id:
            self._entries.pop(message.packet_id, None)
            self._entries[message.packet_id] = entry
            self._forget()
        return entry

    def _forget(self) -> None:
        """Let go of the oldest, which by (b) can no longer be open."""
        while len(self._entries) > self._most:
            oldest = next(iter(self._entries))
            if not self._entries[oldest].acknowledged:
                return
            del self._entries[oldest]


def _remembered(record: Record, client_id: str) -> tuple[tuple[int, int], str, int, bytes] | None:
    """((start of the session, sequence), session, packet id, digest) of a record that came through this client id."""
    try:
        session = headers.find_text(record.headers, headers.SESSION) or ""
        sequence = headers.find_number(record.headers, headers.SEQUENCE)
        packet_id = headers.find_number(record.headers, headers.PACKET_ID)
    except BadInput:
        return None  # written by somebody else
    name, _, started = session.rpartition("@")
    if name != client_id or not started.isdecimal() or sequence is None or packet_id is None:
        return None
    topic = headers.find(record.headers, headers.MQTT_TOPIC) or b""
    return (int(started), sequence), session, packet_id, digest(topic, record.value or b"")
