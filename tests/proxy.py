"""A TCP relay that can cut, stall and delay what goes through it; it knows nothing of the protocol inside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType

_CHUNK_BYTES = 64 << 10
_HELD_CHUNKS = 4096


class _Way:
    """One direction of one connection: reads eagerly, so that what a dead sender left behind is still delivered."""

    def __init__(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, proxy: Proxy, upward: bool) -> None:
        self.flowing = asyncio.Event()
        if not proxy.stall_new:
            self.flowing.set()
        self._source, self._sink, self._proxy, self.upward = source, sink, proxy, upward
        self._held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_HELD_CHUNKS)

    async def run(self) -> None:
        """Carry until the source ends and everything is delivered."""
        reading = asyncio.create_task(self._read())
        try:
            with contextlib.suppress(OSError):
                await self._deliver()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        now = asyncio.get_running_loop().time
        data = b"x"
        while data:
            try:
                data = await self._source.read(_CHUNK_BYTES)
            except OSError:
                data = b""
            await self._held.put((now() + self._proxy.delay_s, data))

    async def _deliver(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            due, data = await self._held.get()
            await asyncio.sleep(max(0.0, due - now()))
            await self.flowing.wait()
            if not data:
                return
            data = self._proxy.spend(data, self.upward)
            self._sink.write(data)
            await self._sink.drain()
            self._proxy.check_budget(self.upward)


class Proxy:
    """Listens on `port` of 127.0.0.1 and relays to `target`; use as an async context manager.

    `delay_s` is added to each direction of every connection. `stall_new` makes new connections accept and then carry
    nothing. Both may be set at any time.
    """

    def __init__(self, target: tuple[str, int], port: int = 0) -> None:
        self.target = target
        self.port = port
        self.delay_s = 0.0
        self.stall_new = False
        self.refuse_new = False
        self.connections = 0  # made so far
        self.on_data_up: Callable[[bytes], None] | None = None
        self._budgets: dict[bool, int] = {}  # by whether upward
        self._server: asyncio.Server | None = None
        self._ways: set[_Way] = set()
        self._transports: set[asyncio.WriteTransport] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where clients connect, as host:port."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection; what was not delivered is lost."""
        for transport in list(self._transports):
            transport.abort()
        for way in self._ways:
            way.flowing.set()

    def cut_after(self, upward_bytes: int) -> None:
        """Carry that many more bytes to the target, then cut once: a request breaks off in its middle."""
        self._budgets[True] = upward_bytes

    def cut_after_answers(self, downward_bytes: int) -> None:
        """As `cut_after`, counting what the target says: an answer breaks off, what was asked is done."""
        self._budgets[False] = downward_bytes

    def stall(self) -> None:
        """Hold what goes through the connections of this moment; new ones flow unless `stall_new` is set."""
        for way in self._ways:
            way.flowing.clear()

    def stall_answers(self) -> None:
        """As `stall`, but only what the target says: it goes on hearing the clients."""
        for way in self._ways:
            if not way.upward:
                way.flowing.clear()

    def resume(self) -> None:
        """Deliver what was held, also of clients that are gone by now."""
        for way in self._ways:
            way.flowing.set()

    def spend(self, data: bytes, upward: bool) -> bytes:
        """What may still be carried of `data`."""
        if upward and self.on_data_up is not None:
            self.on_data_up(data)
        if upward not in self._budgets:
            return data
        data = data[: self._budgets[upward]]
        self._budgets[upward] -= len(data)
        return data

    def check_budget(self, upward: bool) -> None:
        """Cut if `cut_after` or `cut_after_answers` is reached."""
        if self._budgets.get(upward) == 0:
            del self._budgets[upward]
            self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            if not self.refuse_new:
                await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the target is away, or the proxy ends: the client's connection is reset below
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection(*self.target)
        up, down = _Way(reader, target_writer, self, True), _Way(target_reader, writer, self, False)
        transports = {writer.transport, target_writer.transport}
        self._ways |= {up, down}
        self._transports |= transports
        tasks = [asyncio.create_task(up.run()), asyncio.create_task(down.run())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():  # the client has gone; the target still gets what it sent, and then its end
                target_writer.close()
                await asyncio.wait(tasks[1:], timeout=5)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._ways -= {up, down}
            self._transports -= transports
            target_writer.transport.abort()
