"""An emulated link in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

import msgspec

from bench.link.road import Conditions, Counts, Link


class Command(msgspec.Struct):
    """`cut_s`: reset all connections, and refuse new ones for that long."""

    cut_s: float | None = None
    end: bool = False


async def serve(conditions: Conditions) -> None:
    """Run until told to end, or until standard input ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Link(conditions) as link:
        while line := await lines.readline():
            command = msgspec.json.decode(line, type=Command)
            if command.cut_s is not None:
                link.cut(command.cut_s)
            sys.stdout.write(msgspec.json.encode(link.counts).decode() + "\n")
            sys.stdout.flush()
            if command.end:
                break


class Remote:
    """An emulator in a process of its own."""

    def __init__(self, program: Popen[bytes]) -> None:
        self._program = program

    def ask(self, command: Command | None = None) -> Counts:
        """Have a command done; what it has counted."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(msgspec.json.encode(command or Command()) + b"\n")
        self._program.stdin.flush()
        return msgspec.json.decode(self._program.stdout.readline(), type=Counts)


@contextmanager
def running(conditions: Conditions) -> Iterator[Remote]:
    """Start one, end it at the end."""
    argv = [sys.executable, "-m", "bench.link", msgspec.json.encode(conditions).decode()]
    with Popen(argv, stdin=PIPE, stdout=PIPE) as program:
        remote = Remote(program)
        try:
            remote.ask()
            yield remote
        finally:
            program.kill()
