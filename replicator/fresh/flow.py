"""The flow of a backlog: as any other, up to the end of the range that is shipped."""

from __future__ import annotations

from collections.abc import Callable

from headwater.contract.errors import BadInput, HeadwaterError, Permanent
from headwater.transport.kafka_batch import Fetched, codes
from headwater.transport.kafka_batch.batches import batches, first_and_last
from replicator.engine import Engine
from replicator.flow import Flow
from replicator.way import Way


class BacklogFlow(Flow):
    """`run` returns at the end of the range, and can be called again for the next one.

    `until` gives that end; `waits` counts offsets that wait in this range and those behind it.
    """

    def __init__(
        self,
        engine: Engine,
        backlog_bytes: int,
        wake: Callable[[], None],
        unfetched: Callable[[Way, int], HeadwaterError],
        until: Callable[[], int],
        waits: Callable[[], int],
    ) -> None:
        super().__init__(engine, backlog_bytes, wake, unfetched)
        self.closing = False  # no further range is begun
        self.exhausted = False  # the source has nothing more before the end of the range
        self.changed: Callable[[], None] = lambda: None
        self._until = until
        self._waits = waits

    @property
    def behind(self) -> int:
        """See `Flow`."""
        return self._waits()

    def take(self, asked: int, fetched: Fetched) -> None:
        """See `Flow`; what is behind the range is left out."""
        until = self._until()
        if asked == self.next_offset and not self.paused and fetched.error == codes.NONE and fetched.data:
            whole = len(fetched.data)
            fetched = fetched._replace(data=_before(fetched.data, until))
            self.exhausted = len(fetched.data) < whole
        super().take(asked, fetched)
        self.decided = 0  # what comes in is counted with the live stream
        if self.next_offset is not None and (self.next_offset >= until or self.exhausted):
            super().finish()

    def finish(self) -> None:
        """See `Flow`; no further range is begun."""
        self.closing = True
        super().finish()
        self.changed()

    def stand_still(self, error: Permanent) -> None:
        """Halt outside of `run`."""
        self._halt(error)

    def _aim(self, offset: int | None) -> None:
        self.exhausted = False
        super()._aim(offset)
        if self.next_offset is not None and self.next_offset >= self._until():
            super().finish()


def _before(data: memoryview, until: int) -> memoryview:
    """Batches that begin before an offset; what cannot be read is left to `Flow.take`."""
    try:
        found = first_and_last(data)
        if found is None or found[1].last_offset < until:
            return data
        size = 0
        for batch in batches(data):
            if batch.base_offset >= until:
                break
            if batch.raw.obj is not data.obj:  # made of an old message: the engine leaves out what is behind
                return data
            size += len(batch.raw)
    except BadInput:
        return data
    return data[:size]
