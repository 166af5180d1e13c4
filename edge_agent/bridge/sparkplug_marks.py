"""Which messages a state stands for, in its headers: those of a session up to a sequence, but for those in ranges.

In the ranges are messages that waited for others, and those that a former life wrote and that had not come again yet.
Messages that were settled without a record, such as deaths, are named, so that a redelivery is known. Header
`hw-settled`: eighteen bytes a message, big-endian: receive sequence (8), packet id (2), digest of topic and payload
(8). They are the newest only: as many as the broker may have open, whose acknowledgements may be lost on the way.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Self

from edge_agent.bridge.recogniser import FROM_LOG, Mark, Recogniser, digest
from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.records import Record
from headwater.transport.mqtt.packets import Publish

_MARK = struct.Struct(">Q2s8s")
_RANGE = struct.Struct(">qq")
_MOST_MARKS = 10_000


class Stands(NamedTuple):
    """`started`: of the session, ms; its messages up to `sequence`, but for ranges behind a number up to another."""

    started: int = 0
    sequence: int = 0
    unseen: tuple[tuple[int, int], ...] = ()

    @classmethod
    def read(cls, record: Record) -> Self:
        """What a state's headers say; BadInput for what cannot be one."""
        session = headers.find_text(record.headers, headers.SESSION) or ""
        unseen = headers.find(record.headers, headers.UNSEEN) or b""
        if len(unseen) % _RANGE.size:
            raise BadInput(f"header {headers.UNSEEN} has {len(unseen)} bytes")
        sequence = headers.find_number(record.headers, headers.SEQUENCE) or 0
        return cls(started_of(session), sequence, tuple(_RANGE.iter_unpack(unseen)))

    def written(self, session: bytes) -> headers.Headers:
        """As they are written."""
        known = ((headers.SESSION, session), (headers.SEQUENCE, headers.number(self.sequence)))
        unseen = b"".join(_RANGE.pack(*each) for each in self.unseen)
        return (*known, (headers.UNSEEN, unseen)) if unseen else known

    def has(self, started: int, sequence: int) -> bool:
        """Whether the state knows a message."""
        if (started, sequence) > self[:2]:
            return False
        return started != self.started or not any(after < sequence <= to for after, to in self.unseen)

    def missing(self, started: int, after: int, to: int) -> list[tuple[int, int]]:
        """The ranges of a session's sequences behind `after`, up to `to`, that it does not know."""
        if started != self.started:
            return [(after, to)] if after < to else []
        ranges = (*self.unseen, (self.sequence, to))
        cut = ((max(after, one), min(to, other)) for one, other in ranges)
        return [(one, other) for one, other in cut if one < other]


def started_of(session: str) -> int:
    """When a session began, in ms; 0 where its name does not say it."""
    started = session.rpartition("@")[2]
    return int(started) if started.isdecimal() else 0


class Former:
    """What former lives wrote of a session and the broker may send again; make it before the first connection.

    They are kept one by one: what a later life took in for the first time has a higher sequence than what came behind
    it and had been written before, so the highest that came again says nothing of the others.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        self.session = recogniser.session
        self._left = {sequence for _, place, sequence in recogniser.young.values() if place == FROM_LOG}
        self._ranges: list[tuple[int, int]] | None = None

    def came(self, sequence: int) -> None:
        """A message came again."""
        self._left.discard(sequence)
        self._ranges = None

    def ranges(self) -> list[tuple[int, int]]:
        """Sequences of those that did not come again, as ranges behind a number up to another."""
        if self._ranges is None:
            found: list[tuple[int, int]] = []
            for sequence in sorted(self._left):
                if found and found[-1][1] == sequence - 1:
                    found[-1] = found[-1][0], sequence
                else:
                    found.append((sequence - 1, sequence))
            self._ranges = found
        return self._ranges


class Settled:
    """Of one life, and of `former` ones: the newest `most` messages that may come again."""

    def __init__(self, former: Iterable[Mark], most: int) -> None:
        self._most = min(most, _MOST_MARKS)
        self._marks = {
            (each.session.encode(), each.sequence): _MARK.pack(each.sequence, each.packet_id, each.digest)
            for each in former
        }

    def add(self, message: Publish, session: bytes, sequence: int) -> None:
        """A message has no record; at QoS 0 it never comes again."""
        _, topic, packet_id, payload, _ = message
        if packet_id:
            self._marks.pop((session, sequence), None)
            self._marks[session, sequence] = _MARK.pack(sequence, packet_id, digest(topic, payload))
            if len(self._marks) > self._most:
                del self._marks[next(iter(self._marks))]

    def of(self, session: bytes) -> bytes:
        """The header of a state."""
        return b"".join(mark for (its, _), mark in self._marks.items() if its == session)


def marks_in(record: Record, client_id: str) -> Iterator[Mark]:
    """What a state names, if it came through this client id."""
    session = headers.find_text(record.headers, headers.SESSION) or ""
    named = headers.find(record.headers, headers.SETTLED) or b""
    if session.rpartition("@")[0] == client_id and len(named) % _MARK.size == 0:
        for sequence, packet_id, content in _MARK.iter_unpack(named):
            yield Mark(started_of(session), sequence, session, packet_id, content, 0, 1)
