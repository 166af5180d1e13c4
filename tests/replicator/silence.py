"""What these tests do to a link's clusters so that something cannot arrive, and what the link says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from headwater.app.stack.runner import Runner
from headwater.contract import headers
from headwater.contract.topics import gaps, positions
from headwater.transport.kafka_batch import Batch, Cluster, Fetched, Record, read_compacted
from replicator.batch_engine import BatchEngine
from replicator.engine import Ends, Engine
from replicator.fitting import Fitter
from replicator.limits import TopicLimits
from replicator.notices import Notice
from replicator.pipeline import Piece, Pipeline
from replicator.running import run_link
from replicator.standing import Standing, standing_key
from replicator.way import Way
from tests.replicator.bed import PATIENCE_S, Bed


async def notices(bed: Bed) -> list[Notice]:
    """What the link has said in its gaps topic, by partition and offset."""
    kept = await read_compacted(bed.target, gaps(bed.site).name, 0)
    found = [msgspec.json.decode(record.value or b"", type=Notice) for record in kept.values()]
    return sorted(found, key=lambda each: (each.topic, each.partition, each.era, each.first))


async def standing(bed: Bed, topic: str, partition: int = 0) -> Standing | None:
    """How the link says that a partition stands."""
    kept = await read_compacted(bed.target, positions(bed.site).name, 0)
    record = kept.get(standing_key(topic, partition))
    return record and msgspec.json.decode(record.value or b"", type=Standing)


def reason(record: Record) -> str | None:
    """Why a record of the target stands for another one, if it does."""
    return headers.find_text(record.headers, headers.QUARANTINE)


def configure(cluster: Cluster, topic: str, **configs: str) -> None:
    """Set configurations of a topic; names are Kafka's with underscores."""
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in configs.items()
    ]
    admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


class Blind(BatchEngine):
    """Knows no limit of the target but what it learns."""

    def __init__(self, way: Way, ends: Ends) -> None:
        super().__init__(way, ends)
        self._limits = _Unknown(ends.target, way.target)
        self._fitter = Fitter(way, self._limits, ends.clock)


class _Unknown(TopicLimits):
    async def refresh(self, *, at_once: bool = False) -> None:
        del at_once


def dying(after: int, *, died: asyncio.Event, acknowledged: bool) -> Callable[[Way, Ends], Engine]:
    """An engine that sends nothing more behind a number of batches, and then dies: acknowledged, or at once."""

    class Dying(BatchEngine):
        _sent = 0

        def _send(self, pipeline: Pipeline, batch: Batch, piece: Piece) -> None:
            if self._sent < after:
                super()._send(pipeline, batch, piece)
                self._sent += 1

        async def _send_anew(self, pipeline: Pipeline, batch: Batch) -> None:
            await super()._send_anew(pipeline, batch)
            if self._sent >= after:
                await self._die(pipeline)

        async def _die(self, pipeline: Pipeline) -> None:
            if acknowledged:
                await pipeline.settle()
            died.set()
            await asyncio.Event().wait()

    return Dying


async def ship_until_dead(bed: Bed, after: int, *, acknowledged: bool = True) -> None:
    """Run a link that dies behind a number of batches, without a word and with its first position only."""
    died = asyncio.Event()
    engine = dying(after, died=died, acknowledged=acknowledged)
    task = asyncio.create_task(run_link(bed.settings(position_interval_s=600.0), asyncio.Event(), engine))
    waiting = asyncio.create_task(died.wait())
    try:
        await asyncio.wait([task, waiting], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert died.is_set(), "the link went on"
    finally:
        for each in (task, waiting):
            each.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)


def segments(runner: Runner, service: str, topic: str, partition: int = 0) -> Iterator[Path]:
    """The files of a partition's log, on the disk of a broker."""
    return (runner.folder / service / "data" / f"{topic}-{partition}").glob("*.log")


def flip(runner: Runner, service: str, topic: str, at: int, bit: int = 1, partition: int = 0) -> None:
    """Flip a bit of a log on a broker's disk, as a failing disk does; it serves from there."""
    (segment,) = segments(runner, service, topic, partition)
    with segment.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def places(raw: bytes) -> list[int]:
    """Where each batch of a log begins."""
    found, at = [], 0
    with suppress(IndexError):
        while at + 12 < len(raw):
            found.append(at)
            at += 12 + int.from_bytes(raw[at + 8 : at + 12], "big")
    return found


@asynccontextmanager
async def held_back(bed: Bed) -> AsyncIterator[asyncio.Event]:
    """A link that has fetched some KiB of its topics and ships nothing until the event is set; dropped at the end."""
    fetched, go_on = asyncio.Event(), asyncio.Event()

    class Slow(BatchEngine):
        """Ships when it may."""

        async def ship(self, found: Fetched) -> None:
            fetched.set()
            await go_on.wait()
            await super().ship(found)

    small = {"fetch_bytes": 8192, "partition_fetch_bytes": 8192, "backlog_bytes": 8192}
    task = asyncio.create_task(run_link(bed.settings(**small), asyncio.Event(), Slow))
    try:
        await asyncio.wait_for(fetched.wait(), PATIENCE_S)
        yield go_on
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
