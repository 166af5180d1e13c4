"""Both directions of an emulated link, and the connections on it."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

_SLICE_S = 0.01
_RESET = struct.pack("ii", 1, 0)
_LEAST_SLICE = 1448  # bytes of a segment on Ethernet
_READ = 256 << 10


class Conditions(msgspec.Struct, frozen=True):
    """Of one link. `rate` in bytes a second each way; `window` in bytes a connection and way, 0: open.

    A random connection stalls every `stall_every_s` seconds on average (0: never) for `stall_s`.
    """

    port: int
    target: str
    rate: float
    rtt_s: float
    window: int = 0
    stall_every_s: float = 0.0
    stall_s: float = 0.0
    seed: int = 1


class Counts(msgspec.Struct):
    """Bytes that left the bottleneck towards the target, and from it; connections made; bytes waiting to leave."""

    up: int = 0
    down: int = 0
    connections: int = 0
    queued: int = 0


class _Bottleneck:
    """One direction."""

    def __init__(self, conditions: Conditions) -> None:
        self._loop = asyncio.get_running_loop()
        self._rate, self._half_s = conditions.rate, conditions.rtt_s / 2
        self._slice = max(_LEAST_SLICE, int(conditions.rate * _SLICE_S))
        self._free = 0.0
        self._road: deque[tuple[float, _Way, bytes]] = deque()  # when it has left the bottleneck
        self._acks: deque[tuple[float, _Way, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.passed = 0

    def push(self, way: _Way, data: bytes) -> None:
        """Have bytes follow what waits."""
        for at in range(0, len(data), self._slice):
            part = data[at : at + self._slice]
            self._free = max(self._free, self._loop.time()) + len(part) / self._rate
            self._road.append((self._free, way, part))
        self._arm()

    def close(self, way: _Way) -> None:
        """Have the end of a connection follow what waits."""
        self._road.append((max(self._free, self._loop.time()), way, b""))
        self._arm()

    @property
    def queued(self) -> int:
        """Bytes that wait."""
        now = self._loop.time()
        return sum(len(data) for left, _, data in self._road if left > now)

    def drop(self) -> None:
        """Lose everything; what has left already counts."""
        now = self._loop.time()
        self.passed += sum(len(data) for left, _, data in self._road if left <= now)
        self._road.clear()
        self._acks.clear()
        self._free = now

    def _arm(self) -> None:
        if self._timer is None:
            due = [queue[0][0] + self._half_s for queue in (self._road, self._acks) if queue]
            if due:
                self._timer = self._loop.call_at(min(due), self._due)

    def _due(self) -> None:
        self._timer = None
        late = self._loop.time() - self._half_s + 0.0005
        while self._acks and self._acks[0][0] <= late:
            _, way, size = self._acks.popleft()
            way.acknowledged(size)
        while self._road and self._road[0][0] <= late:
            left, way, data = self._road.popleft()
            self.passed += len(data)
            way.deliver(data)
            if data:
                self._acks.append((left + self._half_s, way, len(data)))
        self._arm()


class _Way(asyncio.BufferedProtocol):
    """One end of a connection: what it reads goes to `other` through a bottleneck."""

    def __init__(self, bottleneck: _Bottleneck, window: int, made: Callable[[_Way], None] | None = None) -> None:
        self._made = made
        self.other: _Way | None = None
        self.transport: asyncio.Transport | None = None
        self._bottleneck = bottleneck
        self._window = window
        self._unacked = 0
        self._buffer = memoryview(bytearray(_READ))
        self._held: list[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing yet."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
        if self._made is not None:
            self._made(self)

    def reset(self) -> None:
        """End with a reset."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def begin(self) -> None:
        """Read."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the protocol's signature
        """As much as the window allows."""
        return self._buffer[: max(1, self._window - self._unacked)] if self._window else self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Send on."""
        self._unacked += nbytes
        self._bottleneck.push(self, bytes(self._buffer[:nbytes]))
        if self._window and self._unacked >= self._window and self.transport is not None:
            self.transport.pause_reading()

    def acknowledged(self, size: int) -> None:
        """The window opens."""
        full = self._window and self._unacked >= self._window
        self._unacked -= size
        if full and self._unacked < self._window:
            self.begin()

    def stall(self, seconds: float) -> None:
        """Hold back what arrives on this way."""
        if self._held is None:
            self._held = []
            asyncio.get_running_loop().call_later(seconds, self._release)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for data in held:
            self.deliver(data)

    def deliver(self, data: bytes) -> None:
        """Arrive; nothing: it has ended."""
        if self._held is not None:
            self._held.append(data)
            return
        sink = None if self.other is None else self.other.transport
        if sink is None or sink.is_closing():
            return
        if data:
            sink.write(data)
        else:
            sink.close()

    def eof_received(self) -> None:
        """Close, once what was said before has arrived."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """Tell the other end."""
        self._bottleneck.close(self)


class Link:
    """A running emulator; `async with`."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._ways: list[tuple[_Way, _Way]] = []
        self._down_until = 0.0
        self._dice = random.Random(conditions.seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def __aenter__(self) -> Link:
        loop = asyncio.get_running_loop()
        self._up, self._down = _Bottleneck(self._conditions), _Bottleneck(self._conditions)
        self._server = await loop.create_server(self._accept, "127.0.0.1", self._conditions.port)
        if self._conditions.stall_every_s:
            self._spawn(self._stall())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, down_s: float) -> None:
        """Reset every connection and refuse new ones for a while."""
        self._down_until = asyncio.get_running_loop().time() + down_s
        for pair in self._ways:
            for way in pair:
                way.reset()
        self._ways.clear()
        self._up.drop()
        self._down.drop()

    @property
    def counts(self) -> Counts:
        """So far."""
        return Counts(self._up.passed, self._down.passed, self.connections, self._up.queued)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self) -> _Way:
        return _Way(self._up, self._conditions.window, lambda way: self._spawn(self._connect(way)))

    async def _connect(self, near: _Way) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._down_until:
            near.reset()
            return
        self.connections += 1
        host, _, port = self._conditions.target.rpartition(":")
        far = _Way(self._down, self._conditions.window)
        near.other, far.other = far, near
        self._ways.append((near, far))
        await asyncio.sleep(self._conditions.rtt_s)  # the handshake
        try:
            await loop.create_connection(lambda: far, host, int(port))
        except OSError:
            near.reset()
            return
        if near.transport is None or near.transport.is_closing():
            far.reset()
            return
        near.begin()
        far.begin()

    async def _stall(self) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / self._conditions.stall_every_s))
            self._ways = [
                pair for pair in self._ways if pair[0].transport is not None and not pair[0].transport.is_closing()
            ]
            if self._ways:
                self._dice.choice(self._dice.choice(self._ways)).stall(self._conditions.stall_s)
