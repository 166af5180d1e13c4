"""A message as Kafka records: decoded, refused, given its headers, put into the lane of its partition.

This is the way of what is not plain; what is (QoS 1, sent once, no properties, value as it came) is written by the
loops of bridge.py and spooled_drain.py with the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from edge_agent.bridge.clockwatch import ClockWatch
from edge_agent.bridge.outlet import Lane, Outlet
from edge_agent.bridge.recogniser import digest
from edge_agent.bridge.routes import Routed, Table
from edge_agent.bridge.tally import Tally
from headwater.contract import headers, reading, topics
from headwater.contract.arrival import BAD_PAYLOAD
from headwater.contract.canonical import sha256
from headwater.contract.decoders import Decoded
from headwater.contract.decoders.reasons import TOO_LARGE
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.records import header_blocks, key_block, varint
from headwater.transport.mqtt.packets import (
    CONTENT_TYPE,
    DUP,
    MOST_PROPERTIES_BYTES,
    RETAIN,
    USER,
    Properties,
    Publish,
    size_of,
)

MOST_PAYLOAD_BYTES = 700 << 10  # with key and headers, a batch of one record stays below Kafka's default of 1 MiB
MOST_RECORD_BYTES = 960 << 10  # key, headers and value: a batch of one record stays below what a writer takes
MOST_AROUND_BYTES = 16 << 20  # keys and headers of all records of one message
_MOST_SAMPLE_BYTES = 4096  # of a payload that is read for its time only
PLAIN_BYTES = 1024  # what is longer takes the way on which its size is looked at
KEPT_OF_LARGE = 1024  # bytes of a larger one that go to dead-letters
PACKET_ID_BLOCK = header_blocks(((headers.PACKET_ID, bytes(8)),))[:-2]  # without the two bytes of the id
SEQUENCE_BLOCK = header_blocks(((headers.SEQUENCE, bytes(8)),))[:-8]

_FRAME_BYTES = len(headers.USER_PREFIX) + 6  # lengths of a header, and what stands before a publisher's names
_OWN_BYTES = 512  # the headers that are ours
_WAITED = DUP | RETAIN  # it was not published just now


class Receipt(NamedTuple):
    """What was noted when a message came. `digest` where its payload is not whole any more.

    `logged_ms` is the time that its records get in the log, where that is not the time of receipt.
    """

    session: bytes
    now_ms: int
    sequence: int
    doubt: str = ""  # why it may have been written before
    digest: bytes = b""
    more: headers.Headers = ()
    logged_ms: int = 0


Values = tuple[Routed[Lane], Sequence[Decoded]]


class Records:
    """Makes the records of messages by one table of routes and hands them to the lanes."""

    def __init__(self, table: Table[Lane], outlet: Outlet, batch_bytes: int, clocks: ClockWatch) -> None:
        self.table = table
        self.tally = Tally(table.matches, lambda topic: table.of(topic).route)
        self.clocks = clocks
        self._outlet = outlet
        self._batch_bytes = batch_bytes

    def decode(self, message: Publish, now_ms: int) -> Values:
        """Where a message goes, and its values; none where its decoder filters it."""
        _, topic, _, payload, known = message
        refused = too_large(payload, known)
        if refused:
            return self.refuse(topic, TOO_LARGE, refused, payload[:KEPT_OF_LARGE])
        routed = self.table.of(topic)
        if routed.decoder is None:
            return routed, [Decoded(payload)]
        try:
            decoded = routed.decoder.decode(topic.decode(), payload, now_ms)
        except BadInput as error:
            return self.refuse(topic, error.reason or BAD_PAYLOAD, str(error), payload)
        beyond = self.beyond(message, routed, decoded)
        return self.refuse(topic, TOO_LARGE, beyond, payload) if beyond else (routed, decoded)

    def beyond(self, message: Publish, routed: Routed[Lane], decoded: Sequence[Decoded]) -> str:
        """Which bound the records of a message are above; empty when they fit. Each repeats the headers."""
        around = _around(routed, message[4])
        largest = max((len(each.value) for each in decoded), default=0)
        if largest > MOST_PAYLOAD_BYTES or largest + around > MOST_RECORD_BYTES:
            return f"a reading of {largest} bytes with {around} of key and headers"
        if len(decoded) * around > MOST_AROUND_BYTES:
            return f"{len(decoded)} readings with {around} bytes of key and headers each, {MOST_AROUND_BYTES} in all"
        return ""

    def refuse(self, topic: bytes, reason: str, detail: str, kept: bytes) -> Values:
        """As `decode`, for a message of which `kept` goes to dead-letters."""
        return self.table.dead(self.table.of(topic), reason, detail), [Decoded(kept)]

    def look(self, messages: Sequence[Publish], now_ms: int) -> None:
        """Count the messages of a read by their routes, and look at some clocks."""
        self.tally.took(messages, 1)
        for message in self.clocks.due(messages):
            self.sample(message, now_ms)

    def sample(self, message: Publish, received_ms: int) -> None:
        """Look at the sensor's time of a message whose value is its payload."""
        first, topic, _, payload, _ = message
        routed = self.table.of(topic)
        is_reading = routed.lane.topic == topics.READINGS and routed.decoder is None
        if is_reading and len(payload) <= _MOST_SAMPLE_BYTES:
            with suppress(BadInput):  # the scorer says so
                sensor_ms = reading.time_of(payload)
                self.clocks.observe(routed.key.decode(), sensor_ms, received_ms, waited=bool(first & _WAITED))

    def put(self, message: Publish, values: Values, parts: Sequence[int], receipt: Receipt, place: int) -> None:
        """Hand over the records of a message that `parts` names, each to its lane."""
        routed, decoded = values
        known = known_headers(message, routed, receipt)
        logged_ms = receipt.logged_ms or receipt.now_ms
        if routed.refusal is not None:
            self.tally.refused(routed.route, ": ".join(routed.refusal), message[1])
        if len(parts) > 1:
            self._outlet.parts[place] = len(parts)
        shared = header_blocks(known)
        for part in parts:
            each = decoded[part]
            to = routed if each.asset is None else self.table.elsewhere(routed, each.asset)
            more = each.headers
            if len(decoded) > 1:
                more += ((headers.PART, headers.number(part)), (headers.PARTS, headers.number(len(decoded))))
            if each.timestamp_ms is not None:
                more += ((headers.SENSOR_TIME, headers.number(each.timestamp_ms)),)
                if to.lane.topic == topics.READINGS:
                    waited = bool(message[0] & _WAITED) or headers.find(each.headers, headers.HISTORICAL) is not None
                    self.clocks.observe(to.key.decode(), each.timestamp_ms, receipt.now_ms, waited=waited)
            lane, blocks = to.lane, varint(len(known) + len(more)) + shared + header_blocks(more)
            if lane.section.size + len(to.key) + len(blocks) + len(each.value) > self._batch_bytes:
                lane.flush()
            lane.section.add(key_block(to.key), each.value, blocks, logged_ms)
            lane.places.append(place)


def too_large(payload: bytes, properties: Properties) -> str:
    """Why a message is too large for a record, with its digest; empty when it is not."""
    size = size_of(properties)
    if len(payload) <= MOST_PAYLOAD_BYTES and size <= MOST_PROPERTIES_BYTES:
        return ""
    what = f"{len(payload)} bytes and {size} of properties, SHA-256 {sha256(payload)}; the first "
    return f"{what}{KEPT_OF_LARGE} are kept"


def _around(routed: Routed[Lane], properties: Properties) -> int:
    """Bytes of key and headers, at most."""
    given = sum(len(name) + len(value or b"") + _FRAME_BYTES for name, value in (*routed.headers, *properties))
    return len(routed.key) + given + _OWN_BYTES


def head_of(routed: Routed[Lane], more: int) -> bytes:
    """Number and first blocks of the headers of plain records, `more` of which follow."""
    return varint(len(routed.headers) + more) + header_blocks(routed.headers)


def known_headers(message: Publish, routed: Routed[Lane], receipt: Receipt) -> headers.Headers:
    """Headers that all records of a message share."""
    first, topic, packet_id, payload, properties = message
    known = [
        *routed.headers,
        (headers.SESSION, receipt.session),
        (headers.RECEIVED_AT, headers.number(receipt.now_ms)),
        (headers.PACKET_ID, headers.number(int.from_bytes(packet_id, "big"))),
        (headers.SEQUENCE, headers.number(receipt.sequence)),
        *receipt.more,
    ]
    if first & RETAIN:
        known.append((headers.RETAINED, b"1"))
    if receipt.doubt:
        known.append((headers.POSSIBLE_DUPLICATE, headers.text(receipt.doubt)))
    if routed.decoder is not None or routed.refusal is not None:
        known.append((headers.DIGEST, receipt.digest or digest(topic, payload)))
    if routed.refusal is not None:
        reason, detail = routed.refusal
        known += ((headers.REASON, headers.text(reason)), (headers.DETAIL, headers.text(detail)))
    if sum(len(name) + len(value) for name, value in properties) <= MOST_PROPERTIES_BYTES:
        known += _of_properties(properties)
    return tuple(known)


def _of_properties(properties: Properties) -> headers.Headers:
    found = []
    for name, value in properties:
        if name == CONTENT_TYPE:
            found.append((headers.CONTENT_TYPE, value))
        elif name.startswith(USER):
            found.append((headers.USER_PREFIX + name.removeprefix(USER), value))
    return tuple(found)
