"""Records on their way to Kafka: one lane a partition, collected while its last batch is under way, written in order.

Each record belongs to a message, which the caller numbers in the order of receipt (its place). Messages are settled in
that order: `settled` is the place behind the last message before which nothing is waiting in any lane.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section

HOLD_S = 0.05
_LOOK_S = 0.01  # a source that brought nothing for so long has no more


class SectionWriter(Protocol):
    """What a lane needs of kafka_batch's Writer."""

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        """Write a batch; `done` is told once it is safe, or why it will not be."""
        ...


class Lane:
    """One partition. `section` collects; what is full, or meets an idle partition, is pushed."""

    __slots__ = ("_outlet", "_sent", "_writer", "partition", "places", "section", "topic", "touched")

    def __init__(self, outlet: Outlet, writer: SectionWriter, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.section = Section()
        self.places: list[int] = []  # of every record that is not written, in order
        self._sent: deque[tuple[int, int]] = deque()  # records and bytes of the batches under way
        self._outlet = outlet
        self._writer = writer

    def flush(self) -> None:
        """Push what was collected, however little."""
        section = self.section
        if not section.count:
            return
        self.section = Section()
        self._sent.append((section.count, section.size))
        self._outlet.held += section.size
        self._writer.push(self.topic, self.partition, section, self._done)

    def flush_if_idle(self) -> None:
        """Push what was collected unless a batch is under way, behind which it gathers company, or more is to come."""
        if not self._sent and self.section.size >= self._outlet.fill:
            self.flush()

    def _done(self, answer: int | HeadwaterError) -> None:
        if isinstance(answer, HeadwaterError):
            self._outlet.fail(answer)
            return
        count, size = self._sent.popleft()
        places = self.places[:count]
        del self.places[:count]
        self._outlet.held -= size
        self._outlet.written(self, places)


class Outlet:
    """All lanes. `done(topic, messages)` is told of messages whose last record is safe, `moved()` once a turn."""

    def __init__(self, writer: SectionWriter, done: Callable[[str, int], None], moved: Callable[[], None]) -> None:
        self.held = 0  # bytes under way
        self.fill = 0  # bytes that a batch waits for, see `hold`
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.parts: dict[int, int] = {}  # place: records that are missing, for messages of several
        self._writer = writer
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._done = done
        self._moved = moved
        self._due = False
        self._holding: asyncio.TimerHandle | None = None
        self._looks = 0  # of this hold
        self._fed = False  # since the last look

    def lane(self, topic: str, partition: int) -> Lane:
        """The lane of a partition."""
        found = self._lanes.get((topic, partition))
        if found is None:
            found = self._lanes[topic, partition] = Lane(self, self._writer, topic, partition)
        return found

    def flush(self) -> None:
        """Let everything that was collected begin its way, where the way is free."""
        for lane in self._lanes.values():
            if lane.section.count:
                lane.flush_if_idle()

    def hold(self, size: int) -> None:
        """Batches wait until they have `size` bytes, for HOLD_S at most and only while this is said again and again.

        0: not any more, which `flush` acts on.
        """
        self.fill = size
        if not size:
            self._stop_looking()
            return
        self._fed = True
        if self._holding is None:
            self._looks = 0
            self._holding = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._looks += 1
        if self._fed and self._looks * _LOOK_S < HOLD_S:
            self._fed = False
            self._holding = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
            return
        self._holding = None
        self.fill = 0
        self.flush()

    def _stop_looking(self) -> None:
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None

    def settled(self, end: int) -> int:
        """The place of the first message of which something is waiting, or `end`."""
        return min([lane.places[0] for lane in self._lanes.values() if lane.places], default=end)

    @property
    def bytes(self) -> int:
        """Bytes that are collected or under way."""
        return self.held + sum(lane.section.size for lane in self._lanes.values())

    def waiting(self) -> dict[str, int]:
        """How many records are not written, by Kafka topic."""
        found: dict[str, int] = {}
        for lane in self._lanes.values():
            found[lane.topic] = found.get(lane.topic, 0) + len(lane.places)
        return found

    @property
    def messages(self) -> int:
        """How many messages are not written whole, counted where they are."""
        return sum(self.waiting().values()) - sum(records - 1 for records in self.parts.values())

    def fail(self, error: HeadwaterError) -> None:
        """The writer will write no more."""
        if not self.failed.done():
            self.failed.set_exception(error)
            self.failed.exception()  # at the end of a life nobody asks for it

    def written(self, lane: Lane, places: list[int]) -> None:
        """Take note of records that are safe."""
        count = len(places)
        if self.parts:
            count = sum(map(self._is_last, places))
        self._done(lane.topic, count)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _is_last(self, place: int) -> bool:
        missing = self.parts.get(place)
        if missing is None:
            return True
        if missing == 1:
            del self.parts[place]
            return True
        self.parts[place] = missing - 1
        return False

    def _tell(self) -> None:
        """What was collected behind a batch leaves after the acknowledgements, which decide whether more is to come."""
        self._due = False
        self._moved()
        self.flush()
