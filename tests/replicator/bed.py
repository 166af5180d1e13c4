"""What the replicator's tests do to two clusters: write, ship, kill, compare."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from headwater.contract.errors import BadInput, Permanent, Transient
from headwater.contract.topics import TopicSpec, positions, remote
from headwater.transport.kafka_batch import Batch, Cluster, Out, Record, encode, read_compacted
from headwater.transport.kafka_batch.administration import create_topic
from headwater.transport.kafka_batch.reading import walk
from headwater.transport.kafka_batch.records import records
from headwater.transport.retry import retrying
from replicator.position import PRODUCER_KEY, Gap, Identity, Position, decode, position_key
from replicator.running import run_link
from replicator.settings import ReplicatorSettings

PATIENCE_S = 40.0
EPOCH_MS = int(time.time() * 1000) - 3_600_000


def now_ms() -> int:
    """The time, in ms since 1970."""
    return int(time.time() * 1000)


async def until(holds: Callable[[], Awaitable[bool]], what: str, deadline_s: float = PATIENCE_S) -> None:
    """Wait for a condition; AssertionError when it does not come."""
    deadline = time.monotonic() + deadline_s
    while not await holds():
        assert time.monotonic() < deadline, f"not within {deadline_s:g} s: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Bed:
    """One site with topics of its own; both clusters are real."""

    site: str
    source: Cluster
    target: Cluster
    log: Path  # what replicator processes say
    partitions: dict[str, int] = field(default_factory=dict)

    async def topic(self, stem: str = "t", partitions: int = 2, **configs: str) -> str:
        """Make a source topic of this test; option names are Kafka's with underscores."""
        name = f"{stem}-{self.site}"
        await self.make(self.source, name, partitions, **configs)
        self.partitions[name] = partitions
        return name

    async def make(self, cluster: Cluster, name: str, partitions: int, **configs: str) -> None:
        """Make a topic and wait until it has leaders."""
        dotted = {key.replace("_", "."): value for key, value in configs.items()}
        await create_topic(cluster, TopicSpec(name, partitions, dotted))
        await retrying("waiting for leaders", lambda: cluster.offsets(name, "latest"), deadline_s=20, first_s=0.02)

    def settings(self, *topics: str, **more: Any) -> ReplicatorSettings:
        """A link for these topics."""
        values = {"source": self.source.settings, "target": self.target.settings, "position_interval_s": 0.2, **more}
        return ReplicatorSettings(site=self.site, topics=topics or tuple(self.partitions), **values)

    @asynccontextmanager
    async def link(self, settings: ReplicatorSettings) -> AsyncIterator[asyncio.Task[Permanent | None]]:
        """Run a link in this process; at the end it is asked to stop, and what it raised is raised."""
        stop = asyncio.Event()
        task = asyncio.create_task(run_link(settings, stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.done(), "the link does not stop"
        task.result()

    async def ship(self, **more: Any) -> None:
        """Run a link until all is shipped, then stop it."""
        async with self.link(self.settings(**more)) as task:
            await self.shipped(task)

    async def ship_and_die(self, **more: Any) -> None:
        """Run a link until all is shipped, then drop it at once: no word to stop, and no position but the first."""
        more = {"position_interval_s": 600.0, **more}
        task = asyncio.create_task(run_link(self.settings(**more), asyncio.Event()))
        await self.shipped(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def ship_and_die_at(self, topic: str, partition: int, end: int) -> None:
        """As `ship_and_die`, once a partition of the target ends at an offset."""
        task = asyncio.create_task(run_link(self.settings(position_interval_s=600.0), asyncio.Event()))
        await until(lambda: self.ends_at(topic, partition, end), "all is shipped")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def gaps(self) -> list[Gap]:
        """Gaps that the link has recorded, the oldest first."""
        kept = await read_compacted(self.target, positions(self.site).name, 0)
        found = [decode(record.value, Gap, "gap") for key, record in kept.items() if key.startswith(b"gap/")]
        return sorted(found, key=lambda gap: (gap.topic, gap.partition, gap.era))

    async def position(self, topic: str, partition: int = 0) -> Position:
        """The stored position."""
        kept = await read_compacted(self.target, positions(self.site).name, 0)
        return decode(kept[position_key(topic, partition)].value, Position, "position")

    async def has_position(self, topic: str, partition: int = 0) -> bool:
        """Whether a position is stored: a link that was told to stop at once may have come to none."""
        kept = await read_compacted(self.target, positions(self.site).name, 0)
        return position_key(topic, partition) in kept

    async def arrived(self, topic: str, partition: int = 0) -> list[int]:
        """Numbers of the records at the target, in their order."""
        return numbers(await self.data(self.target, remote(self.site, topic), partition))

    async def producer(self) -> int:
        """The link's producer id."""
        kept = await read_compacted(self.target, positions(self.site).name, 0)
        return decode(kept[PRODUCER_KEY].value, Identity, "producer").pid

    async def shipped(self, task: asyncio.Task[Permanent | None] | None = None) -> None:
        """Wait until the target has as many records as the source has committed."""

        async def arrived() -> bool:
            if task is not None and task.done():
                task.result()
            return all([await self._arrived(topic, p) for topic, n in self.partitions.items() for p in range(n)])

        await until(arrived, "all records are at the target")

    async def _arrived(self, topic: str, partition: int) -> bool:
        wanted = len(await self.data(self.source, topic, partition))
        try:
            ends = await self.target.offsets(remote(self.site, topic), "latest")
        except (BadInput, Transient):  # not there yet
            return False
        return ends.get(partition, -1) >= wanted

    async def holds(self, topic: str, count: int, *, more: bool = False) -> bool:
        """Whether partition 0 of a target topic ends at `count` (or above, with `more`)."""
        try:
            end = (await self.target.offsets(topic, "latest"))[0]
        except (BadInput, Transient):
            return False
        return end == count or (more and end > count)

    async def ends_at(self, topic: str, partition: int, end: int) -> bool:
        """Whether a partition of the target of `topic` ends at an offset."""
        try:
            return (await self.target.offsets(remote(self.site, topic), "latest"))[partition] == end
        except (BadInput, Transient):  # not there yet
            return False

    async def last_is(self, topic: str, number: int) -> bool:
        """Whether the last record of partition 0 of the target of `topic` has this number."""
        return (await self.arrived(topic))[-1:] == [number]

    async def write(self, topic: str, partition: int, *batches: bytes | bytearray) -> None:
        """Write batches as they are."""
        for batch in batches:
            answer = (await self.source.produce([(topic, partition, batch)]))[0]
            assert answer.error == 0, answer

    async def fill(self, topic: str, count: int, size: int = 50, batch: int = 10) -> None:
        """Write `count` numbered records to each partition."""
        for partition in range(self.partitions[topic]):
            end = (await self.source.offsets(topic, "latest"))[partition]
            numbers = range(end, end + count)
            for first in range(0, count, batch):
                outs = [numbered(n, size) for n in numbers[first : first + batch]]
                await self.write(topic, partition, encode(outs))

    async def batches(self, cluster: Cluster, topic: str, partition: int) -> list[Batch]:
        """Data batches in the log."""
        first = (await cluster.offsets(topic, "earliest"))[partition]
        end = (await cluster.offsets(topic, "latest"))[partition]
        if first == end:
            return []
        return [found.batch async for found in walk(cluster, topic, partition, first, end) if found.is_data]

    async def data(self, cluster: Cluster, topic: str, partition: int) -> list[Record]:
        """Committed records in the log."""
        return [record for batch in await self.batches(cluster, topic, partition) for record in records(batch)]

    async def contents(self, cluster: Cluster, topic: str) -> list[list[tuple[Any, ...]]]:
        """(timestamp, key, value, headers) of each record of each partition."""
        count = await cluster.partitions(topic)
        return [[record[1:] for record in await self.data(cluster, topic, p)] for p in range(count)]

    async def assert_same(self, topic: str) -> None:
        """Source and target hold the same records in the same partitions and order."""
        ours = await self.contents(self.source, topic)
        theirs = await self.contents(self.target, remote(self.site, topic))
        for partition, (here, there) in enumerate(zip(ours, theirs, strict=True)):
            assert there == here, f"{topic}[{partition}]: {len(here)} at the source, {len(there)} at the target"

    async def assert_same_bytes(self, topic: str, partition: int) -> None:
        """Batches are byte for byte the same behind their headers, with the same codec, times and counts."""
        ours = await self.batches(self.source, topic, partition)
        theirs = await self.batches(self.target, remote(self.site, topic), partition)
        assert [_essence(batch) for batch in theirs] == [_essence(batch) for batch in ours]

    @property
    def _stock(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.source.settings.brokers, "log_level": 0}

    def produce(self, topic: str, outs: Sequence[Out], partition: int = 0, **options: str) -> None:
        """Write records with the stock client; option names are librdkafka's with underscores."""
        config = {key.replace("_", "."): value for key, value in options.items()}
        producer = Producer(
            {"bootstrap.servers": self.source.settings.brokers, "linger.ms": 50, "log_level": 0, **config}
        )
        put(producer, topic, outs, partition)
        assert producer.flush(10) == 0

    def add_partitions(self, cluster: Cluster, topic: str, count: int) -> None:
        """Raise a topic's partitions."""
        admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
        for future in admin.create_partitions([NewPartitions(topic, count)]).values():
            future.result(10)

    async def delete(self, cluster: Cluster, topic: str) -> None:
        """Delete a topic and wait until it is gone."""
        admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
        for future in admin.delete_topics([topic]).values():
            future.result(10)

        async def gone() -> bool:
            return topic not in admin.list_topics(timeout=10).topics

        await until(gone, f"{topic} is deleted")

    async def trim(self, cluster: Cluster, topic: str, partition: int, before: int) -> None:
        """Delete records before an offset, as retention does."""
        admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
        for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
            future.result(10)
        assert (await cluster.offsets(topic, "earliest"))[partition] == before

    def transactional(self, name: str) -> Producer:
        """A transactional producer of the source cluster."""
        producer = Producer(
            {"bootstrap.servers": self.source.settings.brokers, "transactional.id": name, "log_level": 0}
        )
        producer.init_transactions(20)
        return producer

    def command(self, settings: ReplicatorSettings) -> tuple[list[str], dict[str, str]]:
        """The command line and environment of a replicator process."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("HEADWATER_")}
        prefix = "HEADWATER_REPLICATOR__"
        env |= {
            f"{prefix}SITE": settings.site,
            f"{prefix}SOURCE__BROKERS": settings.source.brokers,
            f"{prefix}TARGET__BROKERS": settings.target.brokers,
            f"{prefix}TOPICS": "[" + ",".join(f'"{topic}"' for topic in settings.topics) + "]",
            f"{prefix}POSITION_INTERVAL_S": str(settings.position_interval_s),
            f"{prefix}FETCH_BYTES": str(settings.fetch_bytes),
            f"{prefix}PARTITION_FETCH_BYTES": str(settings.partition_fetch_bytes),
            f"{prefix}SHARED": str(settings.shared).lower(),
            f"{prefix}RECORDS": json.dumps([rule.model_dump(exclude_defaults=True) for rule in settings.records]),
        }
        return [sys.executable, "-m", "headwater", "replicate", "run"], env


@asynccontextmanager
async def replicator(bed: Bed, settings: ReplicatorSettings, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real command as a process, killed at the end if it still runs; `more` are further settings by their names."""
    command, env = bed.command(settings)
    env |= {f"HEADWATER_REPLICATOR__{name}": value for name, value in more.items()}
    with bed.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, env=env, stderr=log, stdin=asyncio.subprocess.DEVNULL)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def put(producer: Producer, topic: str, outs: Sequence[Out], partition: int = 0) -> None:
    """Hand records to a stock producer."""
    for key, value, headers, stamp in outs:
        producer.produce(topic, value, key, partition=partition, timestamp=stamp, headers=list(headers))


def numbered(number: int, size: int = 50) -> Out:
    """A record that tells its number, with a header; young enough for a broker to remember its producer."""
    value = b"%d " % number + b"x" * size
    return Out(b"k%d" % (number % 7), value, (("n", b"%d" % number),), EPOCH_MS + number)


def numbers(found: Sequence[Record]) -> list[int]:
    """Numbers of records made by `numbered`."""
    return [int((record.value or b"").split(b" ")[0]) for record in found]


def _essence(batch: Batch) -> tuple[Any, ...]:
    header = (
        batch.count,
        batch.codec,
        batch.base_timestamp,
        batch.max_timestamp,
        batch.last_offset - batch.base_offset,
    )
    return (*header, bytes(batch.raw[61:]))
