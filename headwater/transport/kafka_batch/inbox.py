"""Where answers are received: large ones straight into memory that is used again, small ones many at a time."""

from __future__ import annotations

from collections.abc import Callable

from headwater.contract.errors import Unreachable

_SCRATCH_BYTES = 64 << 10
_ANSWER_BYTES = 512 << 20  # above this the peer is not a Kafka broker
_KEPT = 8  # buffers of large answers
_ROUND = 256 << 10


class Spare:
    """Memory of large answers, used again once nothing refers to it: filling fresh pages costs more than the copy."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def take(self, size: int) -> memoryview:
        """`size` bytes with whatever is in them; they are taken back when no view of them is left."""
        if size <= _SCRATCH_BYTES:
            return memoryview(bytearray(size))
        for each in self._kept:
            if size <= len(each) and _is_free(each):
                return memoryview(each)[:size]
        made = bytearray(-(-size // _ROUND) * _ROUND)
        self._keep(made)
        return memoryview(made)[:size]

    def _keep(self, made: bytearray) -> None:
        if len(self._kept) >= _KEPT:  # those that are too small make room
            self._kept = [each for each in self._kept if len(each) > len(made) or not _is_free(each)]
        if len(self._kept) < _KEPT and len(made) <= _KEPT * _ROUND:
            self._kept.append(made)


def _is_free(buffer: bytearray) -> bool:
    """Whether no view of it is left: one that has any cannot change its size."""
    try:
        buffer.append(buffer.pop())
    except BufferError:
        return False
    return True


class Inbox:
    """Cuts what is received into answers and hands each to `deliver`, without its length.

    `buffer` is where the next bytes belong; `received` takes note of them. What is delivered is a view of its own.
    """

    def __init__(self, deliver: Callable[[memoryview], None]) -> None:
        self._deliver = deliver
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._used = 0
        self._answer: memoryview | None = None
        self._have = 0
        self._spare = Spare()

    def buffer(self) -> memoryview:
        """Where to receive."""
        if self._answer is not None:
            return self._answer[self._have :]
        return self._scratch[self._used :]

    @property
    def missing(self) -> int:
        """Bytes of the answer that has begun to arrive; 0 where that is not known."""
        return 0 if self._answer is None else len(self._answer) - self._have

    def received(self, count: int) -> None:
        """Hand over what is complete; Unreachable for what is no answer of a broker."""
        if self._answer is None:
            self._used += count
            self._split()
            return
        self._have += count
        if self._have == len(self._answer):
            whole, self._answer = self._answer, None
            self._deliver(whole)

    def _split(self) -> None:
        """Cut the scratch buffer into answers; the last may go on in a buffer of its own."""
        at, used, scratch = 0, self._used, self._scratch
        while used - at >= 4:
            size = int.from_bytes(scratch[at : at + 4], "big", signed=True)
            if not 4 <= size <= _ANSWER_BYTES:
                raise Unreachable(f"sends no Kafka answer (length {size})")
            whole = self._spare.take(size)
            have = min(size, used - at - 4)
            whole[:have] = scratch[at + 4 : at + 4 + have]
            at += 4 + have
            if have < size:
                self._answer, self._have = whole, have
                break
            self._deliver(whole)
        rest = bytes(scratch[at:used])
        scratch[: len(rest)] = rest
        self._used = len(rest)
