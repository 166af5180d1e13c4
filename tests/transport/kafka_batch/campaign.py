"""What campaigns against the writer share: a source that redelivers, lives to be killed, and a count of what came."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from headwater.transport.kafka_batch import Cluster, read_records

LIFE = Path(__file__).with_name("life.py")
PARTITIONS = 4
MOST_UNACKED = 400


class Count(NamedTuple):
    """What a reader found at the far end."""

    sent: int
    lost: int
    duplicated: int
    reordered: int


async def count(cluster: Cluster, topic: str, sent: int) -> Count:
    """Compare the log with the numbers 0 … sent - 1, of which n went to partition n mod 4."""
    found: Counter[int] = Counter()
    reordered = 0
    for partition, end in (await cluster.offsets(topic, "latest")).items():
        last = -1
        async for records in read_records(cluster, topic, partition, 0, end):
            for record in records:
                number = int(record.value or b"")
                reordered += number < last
                last = number
                found[number] += 1
    return Count(
        sent,
        sum(n not in found for n in range(sent)),
        sum(n - 1 for n in found.values()) + (len(found) > sent),
        reordered,
    )


class Source:
    """Stands in for an MQTT broker at QoS 1: what was not acknowledged comes again, in order, marked as such."""

    def __init__(self) -> None:
        self.sent = 0
        self.unacked: dict[int, None] = {}
        self.redelivered = 0

    @asynccontextmanager
    async def session(self, process: asyncio.subprocess.Process) -> AsyncIterator[None]:
        """Connect to one life: redeliver, and take its acknowledgements."""
        assert process.stdin is not None
        acknowledging = asyncio.create_task(self._acknowledge(process))
        try:
            self.redelivered += len(self.unacked)
            process.stdin.write(b"".join(b"%d 1\n" % number for number in self.unacked))
            yield
        finally:
            acknowledging.cancel()
            await asyncio.gather(acknowledging, return_exceptions=True)

    async def feed(self, process: asyncio.subprocess.Process, seconds: float) -> None:
        """Send new numbers for a while."""
        assert process.stdin is not None
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            fresh = range(self.sent, self.sent + min(40, MOST_UNACKED - len(self.unacked)))
            self.unacked.update(dict.fromkeys(fresh))
            self.sent += len(fresh)
            process.stdin.write(b"".join(b"%d 0\n" % number for number in fresh))
            await asyncio.sleep(0.005)

    async def _acknowledge(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.unacked.pop(int(line), None)


@asynccontextmanager
async def life_of(brokers: str, topic: str, *, fenced: bool = True) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that writes the numbers which it is given, under the same name each time; killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, LIFE, brokers, topic, f"w-{topic}", str(MOST_UNACKED), "fenced" if fenced else "unfenced",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
        assert process.stdin is not None
        process.stdin.close()


async def until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    """Wait for a plain condition."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the proxy has no event for it
            await asyncio.sleep(0.005)
