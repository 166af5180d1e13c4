"""One partition of a fenced writer: batches leave in order, and stay until they are acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from headwater.contract.errors import DataMissing, Defect, Fenced, HeadwaterError, Transient
from headwater.transport.kafka_batch import calls, codes
from headwater.transport.kafka_batch.answers import awaited
from headwater.transport.kafka_batch.calls import Produced
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.compression import Codec
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.records import Out, encode, encode_records
from headwater.transport.kafka_batch.section import Section
from headwater.transport.kafka_batch.transactions import Producer
from headwater.transport.retry import retrying

IN_FLIGHT = 5  # a broker recognises repeats of the last five batches (ProducerStateEntry.NUM_BATCHES_TO_RETAIN)
_SEQUENCES = 1 << 31  # they wrap to 0
_DOUBTS = 5  # settling this often without one acknowledgement between is no accident
_TOO_SMALL = 512  # bytes; a single reading does not get smaller by what its compression costs
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 3.0


Done = Callable[[int | HeadwaterError], None]  # told the offset of the first record, or why it is not written


class SetBack(DataMissing):
    """A log lacks what it had acknowledged to this life. Nothing more is written; the next life reads the tail."""


class _Piece(NamedTuple):
    batch: bytearray
    sequence: int
    count: int  # type: ignore[assignment]  # the field is meant to hide tuple.count
    done: Done


class Lane:
    """Batches of one partition, sent by at most one session at a time."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        partition: int,
        producer: Producer,
        codec: Codec,
        give_up: Callable[[HeadwaterError], None],
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._partition = partition
        self._producer = producer
        self._codec: Codec = codec
        self._give_up = give_up
        self._unacked: deque[_Piece] = deque()
        self._flights = 0  # of `_unacked`, the oldest that are under way
        self._failure: HeadwaterError | None = None  # of this session
        self._quiet = asyncio.Event()  # it failed, and nothing is under way any more
        self._outbox: Outbox | None = None
        self._task: asyncio.Task[None] | None = None
        self._next_sequence = 0
        self._doubts = 0
        self._end = 0  # behind the last acknowledged record, or behind the fence

    def begin(self, end: int) -> None:
        """Say where the log ends at least: what is written lies behind."""
        self._end = end

    def push(self, pieces: Sequence[Sequence[Out]]) -> list[asyncio.Future[int]]:
        """Queue a batch of each piece; their place in the order is fixed here. The futures bring the base offsets."""
        pid, epoch = self._producer
        queued: list[asyncio.Future[int]] = []
        for outs in pieces:
            sequence = self._next_sequence
            batch = encode(outs, codec=self._codec, producer_id=pid, epoch=epoch, sequence=sequence)
            future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._queue(batch, len(outs), awaited(future))
            queued.append(future)
        self._go()
        return queued

    def push_section(self, section: Section, done: Done) -> None:
        """As `push`, of records that are encoded already; `done` is called once, where the answer arrives."""
        batch = encode_records(
            section.data,
            section.count,
            section.first_ms,
            section.newest_ms,
            self._codec if section.size > _TOO_SMALL else "none",
            *self._producer,
            self._next_sequence,
        )
        self._queue(batch, section.count, done)
        self._go()

    def _queue(self, batch: bytearray, count: int, done: Done) -> None:
        self._unacked.append(_Piece(batch, self._next_sequence, count, done))
        self._next_sequence = (self._next_sequence + count) % _SEQUENCES

    def _go(self) -> None:
        if self._outbox is not None:
            self._fill(self._outbox)
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)

    def fail(self, failure: HeadwaterError) -> None:
        """Fail all that waits and send no more."""
        self._outbox = None
        while self._unacked:
            self._unacked.popleft().done(failure)

    async def stop(self) -> None:
        """End the session, if there is one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Sessions, one after the other; pauses between them grow until one gets something written."""
        try:
            while True:
                await retrying(
                    f"writing to {self._topic}[{self._partition}]",
                    self._session,
                    first_s=_FIRST_PAUSE_S,
                    most_s=_LONGEST_PAUSE_S,
                )
        except HeadwaterError as failure:
            self._give_up(failure)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._give_up(Defect(f"writing to {self._topic}[{self._partition}] broke: {error!r}"))

    async def look(self) -> None:
        """Ask the leader whether its log has what was acknowledged; SetBack if not, Transient as `Cluster.reach`."""
        outbox = await self._cluster.reach(self._topic, self._partition)
        await self._look(outbox.connection)

    async def _session(self) -> None:
        """Send everything, oldest first, until something goes wrong. Transient: nothing was written in this session.

        It ends only when no batch is under way any more, so that a batch sent again cannot overtake its first copy.
        """
        outbox = await self._cluster.reach(self._topic, self._partition)
        await self._look(outbox.connection)
        if self._doubts:
            await self._settle_doubt()
        self._failure = None
        self._quiet.clear()
        before = self._end
        self._outbox = outbox
        self._fill(outbox)
        try:
            await self._quiet.wait()
        finally:
            self._outbox = None
        failure = self._failure
        if failure is not None and not (isinstance(failure, Transient) and self._end > before):
            raise failure

    def _fill(self, outbox: Outbox) -> None:
        while self._flights < min(IN_FLIGHT, len(self._unacked)):
            piece = self._unacked[self._flights]
            self._flights += 1
            outbox.post(self._topic, self._partition, piece.batch, self._answered)

    def _answered(self, answer: Produced | HeadwaterError) -> None:
        self._flights -= 1
        if self._failure is None:
            self._failure = answer if isinstance(answer, HeadwaterError) else self._acknowledge(answer)
        if self._failure is None:
            if self._outbox is not None:
                self._fill(self._outbox)
            return
        self._outbox = None
        if not self._flights:
            self._quiet.set()

    def _acknowledge(self, produced: Produced) -> HeadwaterError | None:
        """Take note of what is written; the error, if it is not."""
        if not self._unacked:  # the writer gave up meanwhile
            return None
        if produced.error not in _WRITTEN:
            self._cluster.note(self._topic, produced.error)
            self._doubts += produced.error in _DOUBTFUL
            return codes.failure(
                produced.error,
                f"writing to {self._topic}[{self._partition}] as {self._producer}",
                produced.detail,
                denied=self._cluster.denied("Write", self._topic),
            )
        if 0 <= produced.base_offset < self._end:
            return self._set_back(f"a batch was written at offset {produced.base_offset}")
        self._doubts = 0
        piece = self._unacked.popleft()
        self._end = max(self._end, produced.base_offset + piece.count)  # a repeat may come without its offset
        piece.done(produced.base_offset)
        return None

    async def _look(self, connection: Connection) -> None:
        """Refuse to go on in a log that was set back: it may not know this life, and would take a batch anywhere.

        Asked on the connection that the batches leave on: a broker that gets another disk ends it.
        """
        where, acknowledged = (self._topic, self._partition), self._end  # more may be while the answer is on its way
        listed = (await connection.request(calls.list_offsets({where: calls.LATEST_MS})))[where]
        self._cluster.note(self._topic, listed.error)
        denied = self._cluster.denied("Describe", self._topic)
        codes.check(listed.error, f"asking where {self._topic}[{self._partition}] ends", denied=denied)
        if listed.offset < acknowledged:
            raise self._set_back(f"the log ends at {listed.offset}")

    def _set_back(self, seen: str) -> SetBack:
        return SetBack(
            f"{self._topic}[{self._partition}]: {seen}, what was acknowledged ends at {self._end}",
            hint="the topic was made anew, cut short or restored; restart this process, it reads its tail",
        )

    async def _settle_doubt(self) -> None:
        """A sequence did not fit: ask the leader which one it has, within this life, and decide."""
        where = f"{self._topic}[{self._partition}]"
        if not self._unacked:
            return
        if self._doubts > _DOUBTS:
            raise SetBack(f"{where}: sequences of {self._producer} do not fit, {self._doubts} times in a row")
        states = (await self._cluster.describe_producers(self._topic, [self._partition]))[self._partition]
        known = next((state for state in states if state.producer.id == self._producer.id), None)
        if known is None:
            return  # forgotten (producer.id.expiration.ms): any sequence is accepted now
        if known.producer.epoch > self._producer.epoch:
            raise Fenced(f"{where}: epoch {known.producer.epoch} of producer {known.producer.id} has taken over")
        oldest = self._unacked[0]
        last_sequence = known.last_sequence if known.producer == self._producer else -1
        ahead = (last_sequence + 1 - oldest.sequence) % _SEQUENCES
        if ahead > sum(piece.count for piece in self._unacked):
            raise SetBack(
                f"{where}: the leader has sequences up to {last_sequence}, {oldest.sequence} is the first "
                "that is not acknowledged: acknowledged records are gone",
                hint="a broker lost its disk or an unclean leader was elected; restart this process, it reads its tail",
            )


_WRITTEN = frozenset({codes.NONE, codes.DUPLICATE_SEQUENCE})
_DOUBTFUL = frozenset({codes.OUT_OF_ORDER_SEQUENCE, codes.UNKNOWN_PRODUCER_ID})
