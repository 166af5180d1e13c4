"""What arrived in Kafka, as the broker saw it: offsets, append times, and the set of readings with its digest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from numpy.typing import NDArray

from bench.bridge import load
from headwater.contract.errors import Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka import ensure_topics
from headwater.transport.kafka_batch import Cluster, batches
from headwater.transport.kafka_batch.settings import KafkaSettings

PARTITIONS = 4
_TIMEOUT_S = 30.0
_POLL_S = 0.05

Offsets = tuple[int, ...]


@dataclass(frozen=True)
class Arrived:
    """The readings of one run. `append_s`: Unix time of each number's first arrival (LogAppendTime, ms), rising."""

    distinct: int
    duplicates: int
    strangers: int
    digest: int
    append_s: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    numbers: NDArray[np.int64]

    @property
    def first_s(self) -> float:
        """Unix time at which the first had arrived."""
        return float(self.append_s[0])

    @property
    def last_s(self) -> float:
        """Unix time at which the last had arrived."""
        return float(self.append_s[-1])

    def after(self, instant_s: float) -> int:
        """How many arrived later."""
        return int((self.append_s > instant_s).sum())


class Log:
    """The topics of one cluster, all of them stamped with the time at which the broker appends."""

    def __init__(self, brokers: str, topics: list[str]) -> None:
        self._brokers = brokers
        configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        ensure_topics(KafkaSettings(brokers=brokers), [TopicSpec(name, PARTITIONS, configs) for name in topics])
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "bench",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": 65_536,
                "fetch.queue.backoff.ms": 5,
            }
        )

    def begin(self, topic: str) -> Offsets:
        """Delete what a topic holds, and return where it begins now.

        No bridge comes into a topic full of what others wrote, where it would look for what it wrote itself.
        """
        ends = self.ends(topic)
        before = [TopicPartition(topic, partition, end) for partition, end in enumerate(ends)]
        admin = AdminClient({"bootstrap.servers": self._brokers})  # a name keeps it alive until it has answered
        for done in admin.delete_records(before, request_timeout=_TIMEOUT_S).values():
            done.result(_TIMEOUT_S)
        return ends

    def ends(self, topic: str) -> Offsets:
        """End offset of each partition."""
        found = []
        for partition in range(PARTITIONS):
            both = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), _TIMEOUT_S, cached=False)
            if both is None:
                raise Unreachable(f"Kafka does not say where {topic} ends")
            found.append(both[1])
        return tuple(found)

    def wait(self, topic: str, start: Offsets, count: int, patience_s: float) -> Offsets:
        """The ends once `count` records have come after `start`, or nothing has come for `patience_s`."""
        seen, moved = 0, time.monotonic()
        while True:
            ends = self.ends(topic)
            came = sum(ends) - sum(start)
            if came >= count:
                return ends
            if came > seen:
                seen, moved = came, time.monotonic()
            if time.monotonic() - moved > patience_s:
                return ends
            time.sleep(_POLL_S)

    def read(self, topic: str, start: Offsets, end: Offsets, first_number: int = 0) -> Arrived:
        """The readings from `start` to `end` with numbers from `first_number` up; control records count as nothing."""
        numbers: list[int] = []
        digests: list[int] = []
        appended: list[int] = []
        sent: list[int] = []
        strangers = 0
        for record in self.records(topic, start, end):
            content = record.value()
            try:
                number = load.number_of(content or b"")
            except ValueError:
                strangers += 1
                continue
            if number < first_number:
                continue
            numbers.append(number)
            digests.append(load.digest_of(content))
            appended.append(record.timestamp()[1])
            sent.append(load.sent_us_of(content))
        return _arrived(strangers, numbers, digests, appended, sent)

    def batch_bytes(self, topic: str, start: Offsets, end: Offsets) -> float:
        """Mean size of the batches from `start` to `end`, as they are stored; control batches count as nothing."""
        sizes = asyncio.run(_sizes(KafkaSettings(brokers=self._brokers), topic, start, end))
        return sum(sizes) / len(sizes) if sizes else 0.0

    def records(self, topic: str, start: Offsets, end: Offsets) -> Iterator[Any]:
        """Messages of confluent_kafka from `start` to `end`, without control records. Unreachable: they do not come."""
        wanted = {p: end[p] for p in range(PARTITIONS) if end[p] > start[p]}
        self._consumer.assign([TopicPartition(topic, p, start[p]) for p in wanted])
        self._consumer.poll(0)
        until = time.monotonic() + _TIMEOUT_S
        while wanted:
            batch = self._consumer.consume(10_000, 0.2)
            for record in batch:
                if record.error() is None and (record.offset() or 0) < end[record.partition() or 0]:
                    yield record
            for position in self._consumer.position([TopicPartition(topic, p) for p in wanted]):
                if position.offset >= wanted[position.partition]:
                    del wanted[position.partition]
            if batch:
                until = time.monotonic() + _TIMEOUT_S
            elif time.monotonic() > until:
                raise Unreachable(f"Kafka does not give the records of {topic} before {end}")
        self._consumer.unassign()

    def close(self) -> None:
        """Leave the cluster."""
        self._consumer.close()


async def _sizes(settings: KafkaSettings, topic: str, start: Offsets, end: Offsets) -> list[int]:
    found = []
    async with Cluster(settings, client_id="bench") as cluster:
        for partition in range(PARTITIONS):
            at = start[partition]
            while at < end[partition]:
                (fetched,) = await cluster.fetch({(topic, partition): at})
                for batch in batches(fetched.data):
                    at = batch.last_offset + 1
                    if not batch.is_control:
                        found.append(len(batch.raw))
    return found


def _arrived(strangers: int, numbers: list[int], digests: list[int], appended: list[int], sent: list[int]) -> Arrived:
    when = np.array(appended, dtype=np.float64)
    order = np.argsort(when, kind="stable")
    every = np.array(numbers, dtype=np.int64)[order]
    distinct, first = np.unique(every, return_index=True)  # the index of the first of equals
    append_ms = when[order][first]
    digest = int(np.array(digests, dtype=np.uint64)[order][first].sum(dtype=np.uint64))
    # The broker's clock has whole milliseconds, rounded down.
    latency = append_ms + 0.5 - np.array(sent, dtype=np.float64)[order][first] / 1000
    return Arrived(
        len(distinct), len(every) - len(distinct), strangers, digest, np.sort(append_ms) / 1000, latency, distinct
    )
