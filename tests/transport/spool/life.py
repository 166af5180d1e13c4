"""Lives of a spool for kills: `python -m tests.transport.spool.life FOLDER` forks one for each line it reads.

A line is `tag commits ms`: the life is killed so many ms after it told that many commits. The answer is the last
durable end that it told.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
from pathlib import Path

from headwater.transport.spool import Spool


def row(position: int, tag: int) -> tuple[bytes, bytes]:
    """The record at that position, as the life `tag` wrote it."""
    return b"%d %d" % (position, tag), random.Random(position).randbytes(position % 300)


async def _live(folder: Path, tag: int, tell: int) -> None:
    rng = random.Random(tag)
    spool = Spool.open(folder, most_bytes=1 << 20, segment_bytes=20_000)
    while True:
        for _ in range(rng.randrange(1, 4)):
            first = spool.end
            spool.append([row(position, tag) for position in range(first, first + rng.randrange(1, 20))])
        if rng.random() < 0.3:
            waiting = asyncio.create_task(spool.commit())
            await asyncio.sleep(0)
            spool.append([row(spool.end, tag)])
            await waiting
        os.write(tell, (await spool.commit()).to_bytes(8))
        if spool.durable_end - spool.oldest > 1500:
            spool.trim(spool.durable_end - 1000)


def _killed(folder: Path, tag: int, commits: int, seconds: float) -> int:
    read, write = os.pipe()
    life = os.fork()
    if not life:
        asyncio.run(_live(folder, tag, write))
        os._exit(1)
    os.close(write)
    told = b""
    while len(told) < 8 * commits and (piece := os.read(read, 1 << 16)):
        told += piece
    select.select([], [], [], seconds)  # the very instant is chance
    os.kill(life, signal.SIGKILL)
    _, status = os.waitpid(life, 0)
    while piece := os.read(read, 1 << 16):
        told += piece
    os.close(read)
    if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit("the life ended by itself")
    return int.from_bytes(told[len(told) // 8 * 8 - 8 :][:8]) if len(told) >= 8 else 0


if __name__ == "__main__":
    for line in sys.stdin:
        number, after, ms = line.split()
        print(_killed(Path(sys.argv[1]), int(number), int(after), float(ms) / 1000), flush=True)
