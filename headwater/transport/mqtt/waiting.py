"""What was received and is not dealt with yet, counted in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

from headwater.transport.mqtt.packets import Publish

MOST_WAITING_BYTES = 16 << 20

_Batch = TypeVar("_Batch")


class Waiting(Generic[_Batch]):
    """Batches that nobody has taken, and the one that was taken last, until its taker says that it was the last.

    `is_full` above `most_bytes` in all, until half of them are left: nothing more should be read meanwhile. So at most
    `most_bytes` and one batch are held, whatever the taker waits for.
    """

    def __init__(self, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self.is_full = False
        self._most = most_bytes
        self._batches: deque[tuple[_Batch, int]] = deque()
        self._bytes = 0
        self._in_hand = 0  # of them: bytes of what was taken last

    def __bool__(self) -> bool:
        return bool(self._batches)

    def put(self, batch: _Batch, messages: Iterable[Publish]) -> None:
        """Add a batch, which has these messages."""
        size = sum(
            [len(topic) + len(payload) + (_size(known) if known else 0) for _, topic, _, payload, known in messages]
        )
        self._batches.append((batch, size))
        self._bytes += size
        if self._bytes > self._most:
            self.is_full = True

    def take(self) -> _Batch:
        """The oldest one; IndexError when there is none."""
        batch, self._in_hand = self._batches.popleft()
        return batch

    def done(self) -> bool:
        """Take note that what was taken last is dealt with; whether there is room again because of that."""
        self._bytes -= self._in_hand
        self._in_hand = 0
        if self.is_full and self._bytes <= self._most // 2:
            self.is_full = False
            return True
        return False


def _size(known: Iterable[tuple[str, bytes]]) -> int:
    return sum(len(name) + len(value) for name, value in known)
