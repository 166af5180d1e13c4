"""Cutting what a broker sends into packets, and reading PUBLISH without an object a message.

Formats: MQTT 3.1.1, sections 2.2 and 3.3; MQTT 5, sections 2.1, 2.2.2 and 3.3. A PUBLISH is the byte with its flags, a
length of one to four bytes (seven bits each, lowest first), the topic with two bytes of length, two bytes of packet id
above QoS 0, the properties (MQTT 5) and the payload.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headwater.contract.errors import BadInput

PUBLISH = 0x30
QOS_1 = 0x32  # a PUBLISH at QoS 1, neither sent again nor retained: nearly all
DUP = 0x08
RETAIN = 0x01
QOS = 0x06

MOST_AT_ONCE = 512  # PUBLISH packets that `cut` returns
# Of the properties of one PUBLISH, at most 32,768 of them: unpacked, small ones take fifty times as much, and a packet
# of 30 MB could have millions, which would hold the event loop for seconds.
MOST_PROPERTIES_BYTES = 64 << 10
_UNTOLD_BYTES = 5  # a property that readers are not told of counts no more than that

Properties = tuple[tuple[str, bytes], ...]
# First byte, topic, packet id as two bytes (empty at QoS 0), payload, properties. A plain tuple: it is made a million
# times where a NamedTuple costs five times as much.
Publish = tuple[int, bytes, bytes, bytes, Properties]

CONTENT_TYPE = "content-type"
USER = "user:"  # before the name of a user property
EXPIRY = "expiry"
UNREAD = "unread"  # stands for properties that are too large; its value is how many bytes they have
_ALIAS = "alias"


class Other(NamedTuple):
    """A packet that is no PUBLISH, whole."""

    data: bytes


class Cutter:
    """The packets of one connection. Feed it what was read, then `cut` until it returns nothing."""

    def __init__(self, *, v5: bool, most_bytes: int, topic_aliases: int = 0) -> None:
        self._v5 = v5
        self._most = most_bytes
        self._short = 128 if most_bytes >= 1 << 14 else 0  # lengths of two bytes need no look at `most_bytes`
        self._data = b""
        self._at = 0
        self._parts = bytearray()  # more of a packet that is not complete yet; a list would cost 50 bytes a read
        self._missing = 0
        self._most_alias = topic_aliases  # that we agreed to
        self._aliases: dict[int, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Add what the socket brought."""
        if self._missing > len(data):
            self._parts += data
            self._missing -= len(data)
            return
        rest = self._data[self._at :]
        self._data = b"".join((rest, self._parts, data)) if rest or self._parts else data
        self._parts = bytearray()
        self._at = self._missing = 0

    def cut(self) -> list[Publish] | Other | None:
        """The next PUBLISH packets up to one of another kind, or that one; None when no packet is complete.

        BadInput: what comes next is no MQTT, or a packet is too large; the connection is of no more use.
        """
        if self._missing:
            return None
        found: list[Publish] = []
        try:
            at = self._publishes(found)
            if found:
                return found
            return self._other(at)
        except IndexError:
            return self._measured(found)
        except BadInput:
            if not found:
                raise
            return found  # what came before is good; the next call raises

    def _measured(self, found: list[Publish]) -> list[Publish] | None:
        if not found:
            self._measure()
        return found or None

    def _measure(self) -> None:
        """Work out how much of a packet is missing; BadInput when nothing is, so that the packet itself is wrong."""
        try:
            _, end = self._extent(self._at)
        except IndexError:
            return  # its head is cut
        if end <= len(self._data):
            raise BadInput(f"a packet of {end - self._at} bytes whose parts do not fit it")
        self._missing = end - len(self._data)

    def _publishes(self, found: list[Publish]) -> int:
        """Take PUBLISH packets into `found` for as long as they come whole; the position behind them."""
        data, at, v5 = self._data, self._at, self._v5
        size = len(data)
        add = found.append
        while at < size and len(found) < MOST_AT_ONCE and (first := data[at]) & 0xF0 == PUBLISH:
            end = data[at + 1]
            if end < 128:
                start = at + 2
            elif (high := data[at + 2]) < self._short:
                start = at + 3
                end += (high - 1) << 7
            else:
                start, end = self._extent(at)
                end -= start
            end += start
            behind = start + 2 + ((data[start] << 8) | data[start + 1])
            topic = data[start + 2 : behind]
            if end > size:
                self._missing = end - size
                break
            packet_id = b""
            if first & QOS:
                packet_id = data[behind : behind + 2]
                behind += 2
            known: Properties = ()
            if v5:
                if behind < end and not data[behind]:
                    behind += 1
                else:
                    topic, behind, known = self._properties(topic, behind, end)
            if behind > end or first & QOS == QOS:
                raise BadInput(f"a PUBLISH of {end - at} bytes whose parts do not fit it")
            add((first, topic, packet_id, data[behind:end], known))
            at = self._at = end
        return at

    def _extent(self, at: int) -> tuple[int, int]:
        """Where the body of the packet at `at` begins and ends; IndexError while its head is not complete."""
        data, length, shift, place = self._data, 0, 0, at + 1
        while True:
            byte = data[place]
            length |= (byte & 127) << shift
            place += 1
            if byte < 128:
                break
            shift += 7
            if shift > 21:
                raise BadInput("a packet with a length of more than four bytes")
        if length > self._most:
            raise BadInput(f"a packet of {length} bytes, at most {self._most} were agreed")
        return place, place + length

    def _other(self, at: int) -> Other | None:
        if at >= len(self._data) or self._missing:
            return None
        _, end = self._extent(at)
        if end > len(self._data):
            self._missing = end - len(self._data)
            return None
        self._at = end
        return Other(self._data[at:end])

    def _properties(self, topic: bytes, at: int, end: int) -> tuple[bytes, int, Properties]:
        """Topic (an alias resolved), where the payload begins, and the properties that mean something to readers."""
        found, behind = properties(self._data, at, end)
        known = []
        for name, value in found:
            if name != _ALIAS:
                known.append((name, value))
                continue
            topic = self._aliased(int.from_bytes(value, "big"), topic)
        if found and found[0][0] == UNREAD:
            self._aliases.clear()  # one of them may have been given anew, unread
        return topic, behind, tuple(known)

    def _aliased(self, alias: int, topic: bytes) -> bytes:
        """The topic that an alias stands for, given with it or before (MQTT 5, 3.3.2.3.4)."""
        if not 0 < alias <= self._most_alias:
            agreed = f"1 to {self._most_alias} were" if self._most_alias else "none was"
            raise BadInput(f"topic alias {alias}, where {agreed} agreed")
        if topic:
            self._aliases[alias] = topic
        elif alias not in self._aliases:
            raise BadInput(f"topic alias {alias} was never given")
        return self._aliases[alias]


def properties(data: bytes, at: int, end: int) -> tuple[list[tuple[str, bytes]], int]:
    """Properties of a PUBLISH (MQTT 5, 3.3.2.3) and the position behind them; BadInput when they are malformed.

    Where they take more than MOST_PROPERTIES_BYTES, what follows is not read, and UNREAD stands for all but a topic
    alias that came before.
    """
    length, at = _number(data, at, end)
    behind = at + length
    if behind > end:
        raise BadInput(f"properties of {length} bytes in a packet that ends before")
    found: list[tuple[str, bytes]] = []
    alias: list[tuple[str, bytes]] = []
    size = 0
    while at < behind:
        began = at
        read = _KINDS.get(data[at])
        if read is None:
            raise BadInput(f"a PUBLISH with property {data[at]:#x}")
        name, value, at = read(data, at + 1, behind)
        if at > behind:
            raise BadInput("a property that is longer than the properties")
        if name == _ALIAS:
            if alias:
                raise BadInput("a PUBLISH with two topic aliases")
            alias.append((name, value))
            continue
        size += at - began if name else min(at - began, _UNTOLD_BYTES)
        if size > MOST_PROPERTIES_BYTES:
            return [*alias, (UNREAD, length.to_bytes(4, "big"))], behind
        if name:
            found.append((name, value))
    return alias + found, behind


def size_of(known: Properties) -> int:
    """Bytes of properties, about; more than MOST_PROPERTIES_BYTES where they were not unpacked."""
    if known and known[0][0] == UNREAD:
        return int.from_bytes(known[0][1], "big")
    return sum(len(name) + len(value) for name, value in known)


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in (0, 7, 14, 21):
        if at >= end:
            break
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise BadInput("a length of more than four bytes, or cut")


def _blob(data: bytes, at: int) -> tuple[bytes, int]:
    behind = at + 2 + int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : behind], behind


_Read = Callable[[bytes, int, int], tuple[str, bytes, int]]


def _fixed(name: str, size: int) -> _Read:
    return lambda data, at, _: (name, data[at : at + size], at + size)


def _text(name: str) -> _Read:
    return lambda data, at, _: (name, *_blob(data, at))


def _user(data: bytes, at: int, _: int) -> tuple[str, bytes, int]:
    name, at = _blob(data, at)
    value, at = _blob(data, at)
    return USER + name.decode("utf-8", "replace"), value, at


def _skipped_number(data: bytes, at: int, end: int) -> tuple[str, bytes, int]:
    return "", b"", _number(data, at, end)[1]


_KINDS: dict[int, _Read] = {
    0x01: _fixed("", 1),  # payload format indicator
    0x02: _fixed(EXPIRY, 4),  # message expiry interval, seconds that are left
    0x03: _text(CONTENT_TYPE),
    0x08: _text(""),  # response topic
    0x09: _text(""),  # correlation data
    0x0B: _skipped_number,  # subscription identifier
    0x23: _fixed(_ALIAS, 2),
    0x26: _user,
}
