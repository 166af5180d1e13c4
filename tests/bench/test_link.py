"""The emulated link keeps its rate, its round trip, its one queue, its windows, and loses what a cut catches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bench.link.road import Conditions, Link
from bench.link.running import Command, running


class _Echo:
    """Answers each part of 1,000 bytes with its first byte."""

    def __init__(self) -> None:
        self._talks: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other side ends."""
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                writer.write((await reader.readexactly(1000))[:1])
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def ended(self) -> None:
        """Wait until nobody talks."""
        await asyncio.gather(*self._talks)


@asynccontextmanager
async def _linked(port: int, **more: float) -> AsyncIterator[tuple[Link, int]]:
    echo = _Echo()
    server = await asyncio.start_server(echo.talk, "127.0.0.1", 0)
    target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    conditions = Conditions(port, target, **{"rate": 100_000.0, "rtt_s": 0.1, **more})  # type: ignore[arg-type]  # numbers
    async with Link(conditions) as link:
        yield link, port
    await echo.ended()
    server.close()


async def _gone(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _said(port: int, parts: int) -> float:
    """Seconds from sending so many parts to the last answer, on a connection that was there before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"x" * 1000)
        await reader.readexactly(1)
        began = time.monotonic()
        writer.write(b"x" * 1000 * parts)
        await reader.readexactly(parts)
        return time.monotonic() - began
    finally:
        await _gone(writer)


async def test_bytes_take_the_round_trip_and_their_time_at_the_bottleneck(unused_tcp_port: int) -> None:
    """30 KB at 100 KB/s and 100 ms take 0.4 s."""
    async with _linked(unused_tcp_port) as (link, port):
        assert 0.39 < await _said(port, 30) < 0.55
        assert link.counts.up == 31_000


async def test_one_queue_serves_all_connections(unused_tcp_port: int) -> None:
    """What comes after somebody else's 40 KB waits for them."""
    async with _linked(unused_tcp_port) as (_, port):
        small_reader, small = await asyncio.open_connection("127.0.0.1", port)
        _, large = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.15)
        large.write(b"x" * 40_000)
        await large.drain()
        await asyncio.sleep(0.02)
        began = time.monotonic()
        small.write(b"x" * 1000)
        await small_reader.readexactly(1)
        assert time.monotonic() - began > 0.4
        await _gone(small, large)


async def test_a_window_lets_as_much_through_a_round_trip(unused_tcp_port: int) -> None:
    """With 4 KB a round trip of 100 ms, 20 KB take five of them on a fast link."""
    async with _linked(unused_tcp_port, rate=1e7, window=4000) as (_, port):
        assert 0.48 < await _said(port, 20) < 0.75


async def test_a_cut_resets_and_refuses_for_a_while(unused_tcp_port: int) -> None:
    """The connection ends at once; one that is made in the time after ends too, a later one works."""
    async with _linked(unused_tcp_port) as (link, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.15)
        link.cut(0.3)
        with pytest.raises(OSError, match="reset"):
            await reader.readexactly(1)
        await _gone(writer)
        with pytest.raises(OSError, match="reset"):
            await _said(port, 1)
        await asyncio.sleep(0.3)
        assert await _said(port, 1) > 0.1


def test_it_runs_in_a_process_of_its_own(unused_tcp_port: int) -> None:
    """It takes commands and tells its counts."""
    with running(Conditions(unused_tcp_port, "127.0.0.1:1", 1000, 0.1)) as remote:
        assert remote.ask(Command(cut_s=0.1)).up == 0
