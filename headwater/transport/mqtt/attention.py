"""When the socket of a connection is looked at: as soon as something is there, or after a rest, or not for now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Attention:
    """One socket. `readable` is called when the selector says so, `rested` after `gather_s`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        gather_s: float,
        readable: Callable[[], None],
        rested: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._gather_s = gather_s
        self._readable = readable
        self._rested = rested
        self._fd = -1
        self._attends = False
        self._resting: asyncio.TimerHandle | None = None

    def opened(self, fd: int) -> None:
        """Begin."""
        self._fd = fd
        self.attend()

    def attend(self) -> None:
        """Let the selector say when there is something to read."""
        if not self._attends:
            self._attends = True
            self._loop.add_reader(self._fd, self._readable)

    def rest(self, *, wake: bool = False) -> None:
        """Leave the socket alone, for `gather_s` with `wake`; without it until `attend`."""
        if self._attends:
            self._attends = False
            self._loop.remove_reader(self._fd)
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if wake:
            self._resting = self._loop.call_later(self._gather_s, self._rested)
