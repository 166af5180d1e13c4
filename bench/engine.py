"""`python -m bench.engine`: what a batch costs the batch engine, without kernel, brokers and the turns of a real link.

One process, no I/O: what was fetched is handed to the flows of four partitions, and a target that takes everything
answers in its own wire format. Bookkeeping, proof and lanes are those of a link.
"""

from __future__ import annotations

import asyncio
import cProfile
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from headwater.contract.errors import Unreachable
from headwater.transport.kafka_batch import Fetched, Out, encode
from headwater.transport.kafka_batch.compression import Codec
from headwater.transport.kafka_batch.connection import Connection
from headwater.transport.kafka_batch.outbox import Outbox
from headwater.transport.kafka_batch.topic_ids import METADATA_WITH_IDS
from headwater.transport.kafka_batch.wire import Call
from replicator.account import Account
from replicator.batch_engine import BatchEngine
from replicator.engine import Ends, Shipment, now_ms
from replicator.flow import Flow
from replicator.links.governor import Gate, Governor
from replicator.operating.figures import Figures
from replicator.position import Position
from replicator.proof.book import Book, item_of
from replicator.proof.entry import Head
from replicator.way import Way

_PARTITIONS = 4
_PART_BYTES = 1 << 20  # fetched of a partition at a time
_TOPIC = "bench"
_SHAPES: tuple[tuple[str, int, int, Codec], ...] = (
    ("1k", 63, 1000, "none"),
    ("1k_zstd", 63, 1000, "zstd"),
    ("1k_16k", 16, 1000, "none"),
    ("100b_single", 1, 100, "none"),
)


class _Target:
    """All that an engine asks of connection, cluster, journal and anchor; it takes everything that is sent."""

    def __init__(self) -> None:
        self.clear = self.ready = True
        self.where = "bench"
        self.now = now_ms
        self.recompress = None
        self.governor = Governor([1.0])
        self.governor.tripped(0.0005)
        self._gate = Gate(self.governor, 0)
        self._ends = [0] * _PARTITIONS
        self._due: list[tuple[Call[Any], Callable[[Any], None]]] = []
        self.outbox = Outbox(cast("Connection", self), 30.0)

    def post(self, call: Call[Any], answered: Callable[[Any], None]) -> None:
        """Take a request, framed as for a socket."""
        call.frame(1, b"")
        self._due.append((call, answered))

    def hold(self, throttle_ms: int) -> None:
        """Never throttled."""

    def answer(self) -> None:
        """Answer all that is due, as a broker would."""
        due, self._due = self._due, []
        for call, answered in due:
            answered(call.answer(memoryview(self._produced(call))))

    def _produced(self, call: Call[Any]) -> bytes:
        """The layout of requests is that of calls.produce: one topic, then two buffers a batch."""
        out = [struct.pack(">i", 1), bytes(call.body[1])]
        for part, rest in zip(call.body[2::2], call.body[3::2], strict=True):
            partition, size = struct.unpack_from(">ii", part)
            assert size == len(part) - 8 + len(rest)
            out.append(struct.pack(">ihqqqih", partition, 0, self._ends[partition], -1, 0, 0, -1))
            self._ends[partition] += int.from_bytes(bytes(part[8 + 57 : 8 + 61]), "big")
        return b"".join(out) + struct.pack(">i", 0)

    def note(self, *_: object) -> None:
        """As a cluster."""

    denied = note

    async def ask_any(self, call: Call[Any]) -> object:
        """As a cluster that has given the topic no id, and bounds the times of records as brokers do by default."""
        if call.api is METADATA_WITH_IDS:
            return {_TOPIC: (0, bytes(16))}
        return 0, "", {"message.timestamp.after.max.ms": "3600000", "max.message.bytes": "1048588"}

    async def reach(self, *_: object) -> Outbox:
        """As a cluster."""
        return self.outbox

    async def producer_id(self, _: object) -> int:
        """As a journal."""
        return 7

    def position(self, *_: object) -> Position:
        """As a journal."""
        return Position(0, 0, 0, 0, 0)

    async def locate(self, _way: Way, position: Position, *_: object) -> Position:
        """As an anchor."""
        return position

    async def look(self, _: Way) -> None:
        """As a journal."""

    def purpose(self, _: Way) -> str:
        """As lines."""
        return "write"

    def gate(self, _: Way) -> Gate:
        """As lines, on a short road."""
        return self._gate


class _Link:
    """What a link does beside its engines: figures and the proof."""

    def __init__(self, ways: list[Way]) -> None:
        self.figures = Figures(now_ms)
        self.books = {way: Book(Head(0, 0, 0, "", 0)) for way in ways}
        self.records = 0

    def on_shipped(self, way: Way, shipment: Shipment) -> None:
        """As Link._on_shipped."""
        self.records += shipment.records
        self.figures.shipped(way, shipment.records, shipment.size, shipment.newest_ms)
        assert shipment.written is not None
        book = self.books[way]
        book.add(item_of(shipment, shipment.written), now_ms())
        book.ready.clear()


async def _ship(per_batch: int, size: int, codec: Codec, rounds: int) -> tuple[float, int]:
    """CPU seconds and source batches of `rounds` answers of 1 MiB for each partition."""
    ways = [Way("bench", _TOPIC, partition) for partition in range(_PARTITIONS)]
    target, link = _Target(), _Link(ways)
    everything = cast("Any", target)
    account = Account(everything, everything, None, now_ms)
    ends = Ends(everything, everything, everything, everything, "continue", link.on_shipped, account, everything)
    flows = [Flow(BatchEngine(way, ends), 64 << 20, lambda: None, lambda *_: Unreachable("nobody")) for way in ways]
    tasks = [asyncio.create_task(flow.run()) for flow in flows]
    async with asyncio.timeout(5):
        while any(flow.next_offset is None for flow in flows):  # noqa: ASYNC110  a flow tells nobody
            await asyncio.sleep(0)
    data = encode(
        [Out(b"key", bytes(str(n) * size, "ascii")[:size], (), now_ms()) for n in range(per_batch)], codec=codec
    )
    count = _PART_BYTES // len(data)
    began, spent = 0, 0.0
    for number in range(rounds + 1):
        parts = [_fetched(way, data, per_batch, began, count) for way in ways]
        began += per_batch * count
        before = time.process_time()
        for flow, part in zip(flows, parts, strict=True):
            flow.take(part.log_start, part)
        while link.records < _PARTITIONS * began:
            await asyncio.sleep(0)
            for task in filter(asyncio.Task.done, tasks):
                task.result()
            target.answer()
        spent += time.process_time() - before if number else 0.0
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return spent, rounds * _PARTITIONS * count


def _fetched(way: Way, data: bytearray, per_batch: int, first: int, count: int) -> Fetched:
    whole = bytearray(data * count)
    for index in range(count):
        struct.pack_into(">q", whole, index * len(data), first + index * per_batch)
    end = first + count * per_batch
    return Fetched(way.topic, way.partition, 0, end, end, first, [], memoryview(whole))


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Answers of 1 MiB a partition, in each of five turns.")] = 30,
    profile: Annotated[
        Path | None, typer.Option(help="Keep cProfile's statistics of the first shape in a file.")
    ] = None,
) -> None:
    """Print the least of five turns for each shape of batch, in microseconds of CPU a batch.

    Example:  python -m bench.engine
    """
    for name, per_batch, size, codec in _SHAPES:
        if profile is not None:
            with cProfile.Profile() as profiler:
                asyncio.run(_ship(per_batch, size, codec, rounds))
            profiler.dump_stats(profile)
            return
        turns = [asyncio.run(_ship(per_batch, size, codec, rounds)) for _ in range(5)]
        least = min(spent / count for spent, count in turns) * 1e6
        typer.echo(f"engine.us_a_batch {least:.1f}  ({name}: {per_batch} records of {size} bytes, {codec})")


if __name__ == "__main__":
    typer.run(main)
