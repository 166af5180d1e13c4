"""A TCP connection without TLS as asyncio has it, less what costs: nothing is joined or copied on its way out.

asyncio's own transport joins what `writelines` is given before Python 3.12, and copies what the kernel does not take.
Here buffers go to the kernel as they are (sendmsg), so they must not change until they have left.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_VECTORS = 512  # sendmsg takes IOV_MAX buffers, 1,024 on Linux
_MOST_EXPECTED = 512 << 10
Wire = bytes | bytearray | memoryview


async def connect(host: str, port: int) -> socket.socket:
    """Connect to the first address of `host` that answers; OSError of the last one if none does."""
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        connected = False
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
            connected = True
        except OSError as error:
            failure = error
        finally:
            if not connected:
                sock.close()
        if connected:
            return sock
    raise failure


class PlainTransport(asyncio.Transport):
    """Carries a BufferedProtocol over a connected socket; made in the event loop, live at once."""

    def __init__(self, sock: socket.socket, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__({"socket": sock})
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()  # a selector that does not know a socket prints it, for nobody
        self._protocol = protocol
        self._queue: deque[memoryview] = deque()
        self._queued = 0
        self._high = 64 << 10
        self._least = 1
        self._resting: asyncio.TimerHandle | None = None
        self._paused = False
        self._closed = False
        protocol.connection_made(self)
        self._watched = True
        self._loop.add_reader(self._fd, self._readable)

    def is_closing(self) -> bool:
        """Whether it was ended."""
        return self._closed

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return self._queued

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Have the protocol pause above `high` bytes; it resumes at a quarter of that."""
        del low
        self._high = self._high if high is None else high

    def expect(self, count: int) -> None:
        """Do not wake before `count` more bytes have come: the fewer turns, the more of each goes to the data."""
        least = max(1, min(count, _MOST_EXPECTED))
        if least != self._least and not self._closed:
            self._least = least
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)

    def rest(self, seconds: float) -> None:
        """Look at nothing that comes for a while: more is done in each turn then."""
        if not self._closed and self._resting is None:
            if self._watched:
                self._watched = False
                self._loop.remove_reader(self._fd)
            self._resting = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """Look at once; the loop is asked to watch only where no further rest follows."""
        self._resting = None
        if not self._closed:
            self._readable()
        if not self._closed and self._resting is None:
            self._watched = True
            self._loop.add_reader(self._fd, self._readable)

    def write(self, data: Wire) -> None:
        """Send one buffer."""
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send buffers in their order."""
        buffers = list(list_of_data)
        if self._closed:
            return
        if self._queue or not self._send(buffers):
            self._keep(buffers)

    def _send(self, buffers: list[Any]) -> bool:
        """Try the kernel once; False leaves all to be kept, True has kept what was not taken."""
        if len(buffers) > _VECTORS:
            return False
        try:
            sent = self._sock.sendmsg(buffers)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._lost(error)
            return True
        rest = _behind(buffers, sent)
        if rest:
            self._keep(rest)
        return True

    def _keep(self, buffers: list[Any]) -> None:
        if not self._queue:
            self._loop.add_writer(self._fd, self._writable)
        for each in buffers:
            self._queue.append(memoryview(each))
            self._queued += len(each)
        if self._queued > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def _writable(self) -> None:
        some = [self._queue[at] for at in range(min(len(self._queue), _VECTORS))]
        try:
            sent = self._sock.sendmsg(some)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        self._queued -= sent
        while self._queue and sent >= len(self._queue[0]):
            sent -= len(self._queue.popleft())
        if sent:
            self._queue[0] = self._queue[0][sent:]
        if not self._queue:
            self._loop.remove_writer(self._fd)
        if self._paused and self._queued <= self._high // 4:
            self._paused = False
            self._protocol.resume_writing()

    def _readable(self) -> None:
        try:
            count = self._sock.recv_into(self._protocol.get_buffer(-1))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lost(error)
            return
        if count:
            self._protocol.buffer_updated(count)
        else:
            self._lost(None)

    def _lost(self, error: Exception | None) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._queue.clear()
        self._queued = 0
        self._sock.close()  # at once: the loop may have no turn left
        self._loop.call_soon(self._protocol.connection_lost, error)

    def abort(self) -> None:
        """End at once; what has not left is dropped."""
        self._lost(None)

    def close(self) -> None:
        """As `abort`: whoever uses this waits for answers, not for what was sent."""
        self._lost(None)


def _behind(buffers: list[Any], sent: int) -> list[Any]:
    for index, each in enumerate(buffers):
        if sent < len(each):
            return [memoryview(each)[sent:], *buffers[index + 1 :]]
        sent -= len(each)
    return []
