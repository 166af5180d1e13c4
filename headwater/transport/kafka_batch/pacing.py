"""Bytes of a connection that leave at a rate, so that what others send does not wait behind them at a slow link."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from headwater.transport.kafka_batch.wire import Buffer

_TICK_S = 0.03
_SEGMENT = 1448  # bytes of data in a TCP segment on Ethernet


class Pacer:
    """Writes to a transport, by and by once there is a `rate` (bytes a second). Buffers must not change meanwhile."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._rate: float | None = None
        self._queue: deque[memoryview] = deque()
        self._free = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.held = 0  # bytes that have not been handed to the transport

    @property
    def rate(self) -> float | None:
        """Bytes a second; None: as they come."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._rate = rate
        if self._timer is not None:
            self._timer.cancel()
            self._pump()

    def writelines(self, buffers: Iterable[Buffer]) -> None:
        """Send buffers in their order."""
        if self._rate is None and not self._queue:
            self._transport.writelines(buffers)
            return
        for each in buffers:
            self._queue.append(memoryview(each))
            self.held += len(each)
        if self._timer is None:
            self._pump()

    def _pump(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._queue and not self._transport.is_closing():
            if self._rate is None:
                self._write(self.held)
                return
            if self._free > now:
                self._timer = self._loop.call_at(self._free, self._pump)
                return
            size = min(self.held, max(_SEGMENT, int(self._rate * _TICK_S)))
            self._free = max(self._free, now - _TICK_S) + size / self._rate
            self._write(size)

    def _write(self, size: int) -> None:
        self.held -= size
        part = []
        while size:
            first = self._queue[0]
            if len(first) <= size:
                part.append(self._queue.popleft())
                size -= len(first)
            else:
                part.append(first[:size])
                self._queue[0] = first[size:]
                size = 0
        self._transport.writelines(part)

    def close(self) -> None:
        """Drop what was not sent."""
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        self.held = 0
