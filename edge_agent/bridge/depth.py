"""Reading the log further back at a start, where the first redelivery shows that the usual tail may not do.

Redeliveries come first and in their order, and what is open is the end of what was taken in. So the first one decides:
if it is above the recogniser's floor, so are all others that were taken in; if it is no redelivery, there are none.
Else messages may be open that lie below the floor (far.py says with which brokers), and `FAR` sequences are read.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import structlog

from edge_agent.bridge.around import Around
from edge_agent.bridge.far import FAR
from edge_agent.bridge.recogniser import Mark, Recogniser, mark_of
from headwater.transport.kafka_batch import Cluster, Record, TopicPartition
from headwater.transport.kafka_batch.reading import read_tail_as
from headwater.transport.mqtt.source import Batch, MqttSource
from headwater.transport.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headwater.transport.spool import Spool

_PIECE = 4000  # records that are held at a time
_ENOUGH = 40_000  # of ours in a partition: four times the most that a broker may send ahead
_MOST = 4 * FAR  # records a partition: others write to dead-letters too

_log = structlog.get_logger(__name__)


class Deep(Around):
    """An MqttSource that holds the first messages of a life back until the log has been read as far as they need."""

    def __init__(self, inner: MqttSource, recogniser: Recogniser, look_back: Callable[[], Awaitable[None]]) -> None:
        super().__init__(inner)
        self._recogniser = recogniser
        self._look_back = look_back
        self._is_sure = False

    async def read(self) -> Batch:
        """See MqttSource."""
        batch = await self._inner.read()
        if self._recogniser.buried:
            if batch.session_present:
                await self._look_back()
            self._recogniser.buried = False
        first = None if self._is_sure else next((message for message in batch.messages if message[2]), None)
        if first is not None:
            if self._recogniser.is_out_of_sight(first):
                await self._look_back()
            self._is_sure = True
        return batch

    def relay(self, take: Callable[[Batch], None]) -> None:
        """See MqttSource: not before the first message is there."""
        if self._is_sure:
            self._inner.relay(take)


async def look_back(
    cluster: Cluster, ends: Mapping[TopicPartition, int], recogniser: Recogniser, spool: Spool | None
) -> None:
    """Have the recogniser know the last `FAR` messages of its session that are before `ends` or in the spool."""
    began, count = time.monotonic(), 0
    if recogniser.buried:
        await _dig(cluster, ends, recogniser)
    floor = recogniser.sequence - FAR
    for pair, end in ends.items():
        count += await _partition(cluster, pair, end, recogniser, floor)
    if spool is not None:
        from edge_agent.bridge.spooled_rows import marks  # noqa: PLC0415 - memory: only where there is one

        count += sum(_learn(recogniser, mark, floor) for mark in marks(spool, FAR, recogniser.client_id))
    _log.info("the log was read far back", messages=count, took_s=round(time.monotonic() - began, 3))


async def _dig(cluster: Cluster, ends: Mapping[TopicPartition, int], recogniser: Recogniser) -> None:
    """Find what a former life wrote behind the records of others, and have the recogniser learn it."""
    found: list[Mark] = []
    for pair, end in ends.items():
        mine, at, left, more = 0, end, _MOST, True
        while more and left > 0 and mine < _ENOUGH:
            piece = await _piece(cluster, pair, at, recogniser.client_id)
            marks = [mark for _, mark in piece if mark is not None]
            found, mine = found + marks, mine + len(marks)
            more, left = len(piece) == _PIECE, left - len(piece)
            at = piece[0][0] if piece else at
        if more and not mine:
            recogniser.doubt = f"what this bridge wrote lies behind {_MOST} records of others"
    recogniser.learn(found)


async def _piece(cluster: Cluster, pair: TopicPartition, end: int, client_id: str) -> list[tuple[int, Mark | None]]:
    """Offset and mark of some records before `end`."""
    topic, partition = pair

    def seen(record: Record) -> tuple[int, Mark | None]:
        return record.offset, mark_of(record, client_id)

    call = partial(read_tail_as, seen, cluster, topic, partition, _PIECE, end=end)
    return await retrying(f"reading {topic}[{partition}] before offset {end}", call)


async def _partition(cluster: Cluster, pair: TopicPartition, end: int, recogniser: Recogniser, floor: int) -> int:
    count, at, left = 0, end, _MOST
    while left > 0:
        piece = await _piece(cluster, pair, at, recogniser.client_id)
        found = [mark for _, mark in piece if mark is not None]
        learnt = sum(_learn(recogniser, mark, floor) for mark in found)
        count += learnt
        if len(piece) < _PIECE or learnt < len(found):
            break
        at, left = piece[0][0], left - len(piece)
    return count


def _learn(recogniser: Recogniser, mark: Mark, floor: int) -> bool:
    """Whether the mark is of this session and not below the floor."""
    if mark.session != recogniser.session or mark.sequence <= floor:
        return False
    if mark.packet_id:
        recogniser.far.log(mark.packet_id, mark.sequence, mark.digest)
    return True
