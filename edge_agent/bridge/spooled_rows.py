"""A message as the spool keeps it.

Its parts are a head, the topic, the payload and, for few, More as MessagePack. The head is what was noted at its
receipt: ms of Unix time and receive sequence (int64), packet id (uint16; 0 at QoS 0) and the first byte of its PUBLISH,
all big-endian, then the session as UTF-8.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

import msgspec

from edge_agent.bridge.recogniser import Mark, digest
from headwater.transport.mqtt.packets import Properties, Publish
from headwater.transport.spool import Missing, Record, Spool

HEAD = Struct(">qqHB")
PLAIN = 4  # length of a record without More: position and three parts
_READ_BYTES = 1 << 20


class More(msgspec.Struct, frozen=True, omit_defaults=True):
    """What few messages have. `refused`: why it goes to dead-letters, `digest` is then that of the whole message."""

    properties: Properties = ()
    refused: str = ""
    digest: bytes = b""
    there: frozenset[int] = frozenset()  # records that an earlier life wrote without a spool
    doubt: str = ""  # why it may have been written before


_NOTHING = More()
_decoder = msgspec.msgpack.Decoder(More)


class Kept(NamedTuple):
    """A record of the spool, read."""

    position: int
    received_ms: int
    sequence: int
    session: bytes
    message: Publish
    more: More


def pack(message: Publish, received_ms: int, sequence: int, session: bytes, more: More) -> tuple[bytes, ...]:
    """The parts of a record; `more` carries the properties."""
    first, topic, packet_id, payload, _ = message
    head = HEAD.pack(received_ms, sequence, int.from_bytes(packet_id, "big"), first) + session
    if more == _NOTHING:
        return head, topic, payload
    return head, topic, payload, msgspec.msgpack.encode(more)


def unpack(record: Record) -> Kept:
    """A record as it was put in."""
    position, (head, topic, payload, *others) = record[0], record[1:]
    more = _decoder.decode(others[0]) if others else _NOTHING
    received_ms, sequence, number, first = HEAD.unpack_from(head)
    packet_id = number.to_bytes(2, "big") if number else b""
    message = (first, topic, packet_id, payload, more.properties)
    return Kept(position, received_ms, sequence, head[HEAD.size :], message, more)


def marks(spool: Spool, count: int, client_id: str) -> Iterator[Mark]:
    """Where the last `count` messages of the spool came from, if they came through this client id."""
    at = max(spool.oldest, spool.durable_end - count)
    while at < spool.durable_end:
        try:
            found = spool.read(at, _READ_BYTES)
        except Missing as missing:
            at = missing.gap.end
            continue
        at += len(found)
        for record in found:
            kept = unpack(record)
            name, _, started = kept.session.decode().rpartition("@")
            if name == client_id and started.isdecimal():
                _, topic, packet_id, payload, _ = kept.message
                content = kept.more.digest or digest(topic, payload)
                yield Mark(int(started), kept.sequence, f"{name}@{started}", packet_id, content, 0, 1)


def newest_ms(spool: Spool, client_id: str) -> int:
    """Time of receipt of the newest message of the spool; 0 where there is none, or not of this client id."""
    if spool.durable_end <= spool.oldest:
        return 0
    try:
        found = spool.read(spool.durable_end - 1, _READ_BYTES)
    except Missing:
        return 0
    kept = unpack(found[-1])
    return kept.received_ms if kept.session.startswith(f"{client_id}@".encode()) else 0
