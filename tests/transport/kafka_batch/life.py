"""One life of a writer, as a process to be killed: takes numbered messages, writes each once, acknowledges.

Started by test_crashes.py: reads lines `number redelivered` on standard input and answers `number` on standard output.
As the bridge does, it drops redelivered messages that it finds in the tails of what it wrote before.
"""

from __future__ import annotations

import asyncio
import sys
import time

import structlog

from headwater.transport.kafka_batch import Cluster, KafkaSettings, Out, Writer

PARTITIONS = 4


async def live(brokers: str, topic: str, name: str, tail: int, fenced: bool) -> None:
    """Write until killed."""
    async with Cluster(KafkaSettings(brokers=brokers), client_id=name) as cluster:
        life = name if fenced else f"{name}-{time.time_ns()}"
        writer = await Writer.open(cluster, life, {topic: list(range(PARTITIONS))}, tails={topic: tail})
        written = {int(record.value or b"") for each in writer.tails.values() for record in each}
        reader = asyncio.StreamReader(limit=1 << 24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        tasks: set[asyncio.Task[None]] = set()
        while chunk := await reader.read(4096):
            if not chunk.endswith(b"\n"):
                chunk += await reader.readline()
            waiting: dict[int, list[int]] = {}
            done = []
            for line in chunk.splitlines():
                number, again = map(int, line.split())
                if again and number in written:
                    done.append(number)
                else:
                    waiting.setdefault(number % PARTITIONS, []).append(number)
            acknowledge(done)
            for partition, numbers in waiting.items():
                task = asyncio.ensure_future(write(writer, topic, partition, numbers))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(0)


async def write(writer: Writer, topic: str, partition: int, numbers: list[int]) -> None:
    """Write, then acknowledge."""
    stamp = time.time_ns() // 1_000_000
    await writer.write(topic, partition, [Out(None, b"%d" % number, (), stamp) for number in numbers])
    acknowledge(numbers)


def acknowledge(numbers: list[int]) -> None:
    """Tell the parent."""
    sys.stdout.write("".join(f"{number}\n" for number in numbers))
    sys.stdout.flush()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the protocol
    asyncio.run(live(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] == "fenced"))
