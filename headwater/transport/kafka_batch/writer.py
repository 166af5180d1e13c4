"""The fenced writer: each record once, in call order a partition, over crashes of the writer and of brokers.

Opening a writer shuts out its former life (fence.py) and returns the end of what it wrote, from which the owner sees
where to go on: the log is the ledger. Then batches are idempotent: each carries (producer id, epoch, sequence), and is
sent again byte for byte until it is acknowledged; a broker recognises the last five of a partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from headwater.contract.errors import BadInput, HeadwaterError, Unreachable
from headwater.transport.kafka_batch.calls import TopicPartition
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.compression import Codec
from headwater.transport.kafka_batch.fence import Partitions, fence, mark
from headwater.transport.kafka_batch.lane import Done, Lane
from headwater.transport.kafka_batch.reading import read_tail
from headwater.transport.kafka_batch.records import Out, Record, encoded_bytes
from headwater.transport.kafka_batch.section import Section
from headwater.transport.kafka_batch.transactions import Producer
from headwater.transport.retry import retrying

BATCH_BYTES = 900 << 10  # uncompressed; below Kafka's default max.message.bytes of 1 MiB in any codec

SECTION_BYTES = 1000 << 10  # with its header, an uncompressed batch stays below 1 MiB


class Writer:
    """Made by `Writer.open`. After a permanent failure, such as Fenced, it refuses every further write."""

    def __init__(self, cluster: Cluster, name: str, producer: Producer, partitions: Partitions, codec: Codec) -> None:
        self.name = name
        self.producer = producer
        self.markers: dict[TopicPartition, int] = {}  # where this life begins in each partition
        self.tails: dict[TopicPartition, list[Record]] = {}
        self._cluster = cluster
        self._partitions = partitions
        self._failure: HeadwaterError | None = None
        self._lanes = {
            (topic, partition): Lane(cluster, topic, partition, producer, codec, self._fail)
            for topic, each in partitions.items()
            for partition in each
        }

    @classmethod
    async def open(
        cls,
        cluster: Cluster,
        name: str,
        partitions: Partitions,
        *,
        tails: Mapping[str, int] | None = None,
        codec: Codec = "lz4",
        state_file: Path | None = None,
    ) -> Writer:
        """Begin a life of the writer called `name`, which nobody else may use (its transactional id).

        `partitions` is everything that it may write; `tails` says how many of the last records of each partition of a
        topic to read. `state_file` keeps the producer id against Kafka's forgetting of names (see fence.py). Waits
        while brokers are away. Fenced: a later life has begun. BadInput: a topic or partition does not exist.
        """
        wanted = dict(tails or {})
        if not wanted.keys() <= partitions.keys():
            raise BadInput(f"tails of topics that {name} does not write: {sorted(wanted.keys() - partitions.keys())}")
        producer, markers = await fence(cluster, name, partitions, state_file)
        writer = cls(cluster, name, producer, partitions, codec)
        writer.markers = markers
        for (topic, partition), marker in markers.items():
            writer._lanes[topic, partition].begin(marker + 1)
            if topic in wanted:
                writer.tails[topic, partition] = await _tail(cluster, topic, partition, wanted[topic], marker)
        return writer

    async def write(self, topic: str, partition: int, outs: Sequence[Out], *, most_bytes: int = BATCH_BYTES) -> int:
        """Write records as one batch and return the first one's offset once all are safe.

        Above `most_bytes` (uncompressed) they make several batches.

        Calls for one partition are written in the order in which they begin; awaiting several at once is what fills the
        road (five batches a partition are under way, the others wait). Cancelling a call does not take its records
        back. BadInput: no such partition, or a record above `most_bytes`; nothing was written. Fenced and other
        Permanent errors: this life is over, whether the records were written is unknown, open a new one.
        """
        lane = self._lanes.get((topic, partition))
        if lane is None:
            raise BadInput(f"writer {self.name} was not opened for {topic}[{partition}]")
        pieces = _pieces(topic, partition, outs, most_bytes)
        if self._failure is not None:
            raise self._failure
        return (await asyncio.gather(*lane.push(pieces)))[0]

    def push(self, topic: str, partition: int, section: Section, done: Done) -> None:
        """Write records that are encoded already as one batch.

        `done` is called once, with what `write` returns or raises, and must not raise itself. BadInput: no such
        partition, or a section without records or above 1 MiB.
        """
        lane = self._lanes.get((topic, partition))
        if lane is None:
            raise BadInput(f"writer {self.name} was not opened for {topic}[{partition}]")
        if not 0 < section.size <= SECTION_BYTES:
            raise BadInput(f"{topic}[{partition}]: a section of {section.size} bytes, at most {SECTION_BYTES}")
        if self._failure is not None:
            done(self._failure)
            return
        lane.push_section(section, done)

    @property
    def is_over(self) -> bool:
        """Whether this life has ended: it was closed, or failed for good."""
        return self._failure is not None

    async def look(self, topic: str, partition: int) -> None:
        """Ask whether the log has what this life had acknowledged; SetBack if not, Transient while nobody answers."""
        await self._lanes[topic, partition].look()

    async def refence(self) -> None:
        """Repeat the empty transaction; once a day keeps Kafka from forgetting the name. Fenced as in `write`."""
        try:
            await mark(self._cluster, self.name, self.producer, self._partitions)
        except HeadwaterError as error:
            self._fail(error)
            raise

    async def close(self) -> None:
        """End this life. What was not acknowledged may or may not be written; the next life's tails tell."""
        if self._failure is None:
            self._fail(Unreachable(f"writer {self.name} was closed"))
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))

    async def __aenter__(self) -> Writer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _fail(self, failure: HeadwaterError) -> None:
        if self._failure is None:
            self._failure = failure
        for lane in self._lanes.values():
            lane.fail(self._failure)


async def _tail(cluster: Cluster, topic: str, partition: int, count: int, marker: int) -> list[Record]:
    return await retrying(
        f"reading the tail of {topic}[{partition}]",
        lambda: read_tail(cluster, topic, partition, count, end=marker),
    )


def _pieces(topic: str, partition: int, outs: Sequence[Out], most_bytes: int) -> list[Sequence[Out]]:
    """Cut into runs of at most `most_bytes`."""
    if not outs:
        raise BadInput(f"{topic}[{partition}]: a write without records")
    pieces: list[Sequence[Out]] = []
    first = size = 0
    for index, out in enumerate(outs):
        more = encoded_bytes(out)
        if more > most_bytes:
            raise BadInput(
                f"{topic}[{partition}]: a record of {more} bytes; at most {most_bytes} are written",
                hint="split it, or keep it elsewhere and write where it is",
            )
        if size + more > most_bytes:
            pieces.append(outs[first:index])
            first, size = index, 0
        size += more
    pieces.append(outs[first:])
    return pieces
