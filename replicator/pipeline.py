"""What one partition has under way at the target: sent in order, answered in order, each batch once.

Several batches are under way at once, so that a road with a long round trip is kept full. Nothing is ever sent again
from here: after the first failure nothing more is sent, what is under way is waited for (a connection that ends answers
all of it), and only then the failure is told; the anchor finds out what the target took.

The first batch after an anchor goes alone. A broker that knows nothing of a producer takes any sequence, so a second
batch could be taken although the first one was refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch import Batch, Produced
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.wire import Buffer, Sendable
from replicator.links.governor import Gate
from replicator.way import Way

MOST_BATCHES = 64
MOST_BYTES = 1 << 20


@dataclass(slots=True)
class Piece:
    """One batch under way: the source offset behind it (and behind markers after it), its records and bytes as written.

    `newest` is the last source batch in it, `stamp` that of its entry in the proof, `sent` all of it as sent where that
    is kept. `offsets` are those of its records at the source, empty where it is one whole batch of it.
    """

    next: int
    count: int
    size: int
    newest: Batch
    stamp: int = 0
    sent: Buffer = b""
    offsets: Sequence[int] = ()


class Pipeline:
    """`judge` says of each answer, in order, what is wrong with it, or None, and takes note of what was written.

    `tell` is called once when there is a failure and nothing is under way any more.
    """

    def __init__(
        self,
        way: Way,
        outbox: Outbox,
        judge: Callable[[Piece, Produced | HeadwaterError], HeadwaterError | None],
        tell: Callable[[], None] | None,
        gate: Gate | None = None,
    ) -> None:
        self._topic, self._partition = way.target, way.partition
        self._gate = gate
        self._outbox = outbox
        self._judge = judge
        self._tell = tell
        self._failure: HeadwaterError | None = None
        self._pieces: deque[Piece] = deque()
        self._bytes = 0
        self._proven = False
        self.unacknowledged = 0  # bytes that were sent in vain, as far as is known
        self.unanswered: list[Piece] = []  # under way when the connection ended, in order
        self._changed: asyncio.Future[None] | None = None
        self._go_on: Callable[[], bool] | None = None

    def takes(self, size: int) -> bool:
        """Whether a batch of `size` bytes may be sent now."""
        return self.has_room(size) and self.in_turn(size)

    def in_turn(self, size: int) -> bool:
        """Whether nobody else is to send first, and it may be paid for."""
        return self._gate is None or self._gate.takes(size)

    def has_room(self, size: int) -> bool:
        """Whether so little is under way that one of `size` bytes may join it; whether it is its turn, too: `takes`."""
        if self._failure is not None:
            return False
        under_way = len(self._pieces)
        if not under_way:
            return True
        most = MOST_BYTES if self._gate is None else self._gate.window
        return self._proven and under_way < MOST_BATCHES and self._bytes + size <= most

    def post(self, piece: Piece, data: Sendable) -> None:
        """Send; `takes` must hold."""
        self._pieces.append(piece)
        self._bytes += piece.size
        if self._gate is not None:
            self._gate.posted(piece.size)
        self._outbox.post(self._topic, self._partition, data, self._answered)

    def skip(self, next_offset: int) -> bool:
        """Have the last batch under way stand for source offsets up to `next_offset`; False if there is none."""
        if not self._pieces:
            return False
        self._pieces[-1].next = next_offset
        return True

    async def room(self, size: int) -> None:
        """Wait until a batch of `size` bytes may be sent; raises the failure, once nothing is under way."""
        while not self.takes(size):
            if self._gate is not None and self.has_room(size):
                await self._gate.turn(size)
            else:
                await self._change()

    async def more(self, go_on: Callable[[], bool]) -> None:
        """Wait for room; raises the failure, once nothing is under way, and what `go_on` raises.

        `go_on` is called where an answer arrives, without a turn of the event loop, to send what there is room for.
        While it returns True, whoever waits here is not woken.
        """
        self._go_on = go_on
        try:
            await self._change()
        finally:
            self._go_on = None

    async def settle(self) -> None:
        """Wait until nothing is under way; raises the failure, if there is one."""
        while self._pieces:
            await self._change()
        if self._failure is not None:
            raise self._failure

    async def _change(self) -> None:
        if self._failure is not None and not self._pieces:
            raise self._failure
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed

    def _answered(self, answer: Produced | HeadwaterError) -> None:
        piece = self._pieces.popleft()
        self._bytes -= piece.size
        if self._gate is not None:
            self._gate.answered(well=not isinstance(answer, HeadwaterError))
        if self._failure is None:
            self._failure = self._judge(piece, answer)
            self._proven = True
        if self._failure is not None:
            self.unacknowledged += piece.size
            if answer is self._failure:
                self.unanswered.append(piece)
            if self._gate is not None and not self._pieces:
                self._gate.leave()
        if self._changed is not None and not self._changed.done():
            self._wake(self._changed)
        if self._failure is not None and not self._pieces and self._tell is not None:
            self._tell()

    def _wake(self, waiting: asyncio.Future[None]) -> None:
        try:
            if self._failure is None and self._go_on is not None and self._go_on():
                return
        except Exception as error:  # noqa: BLE001  whoever waits raises it
            waiting.set_exception(error)
        else:
            waiting.set_result(None)
