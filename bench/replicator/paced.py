"""A stream of single records, and a topic that is made while a system runs."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.replicator.cases import Case
from bench.replicator.clusters import Bed, Ends
from bench.replicator.runs import running
from bench.replicator.systems import System
from headwater.contract.errors import Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.administration import create_topic

RATE = 1000
_SECONDS = 10
_WARM_S = 20.0  # after the first arrival: a Java machine compiles
_SIZE = 1000
_FIRST_S = 90.0
_NEW_S = 125.0
_NO_LEADER = ("NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE", "UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_PARTITION")


def pace(bed: Bed, system: System) -> tuple[float, float]:
    """p50 and p99 in ms, from just before a record is produced to when a consumer at the target has it."""
    topic = bed.fresh("paced-")
    case = Case(topic, RATE, _SIZE)
    asyncio.run(_make(bed.source, topic))
    start = system.start(bed, case, topic, paced=True)
    if start.make_target:
        asyncio.run(_make(bed.target, start.target))
    with running(bed, start, system.name):
        sender = _Sender(bed.source.plain, topic)
        sender.start()
        try:
            _await_topic(bed.target, start.target, _FIRST_S)
            found = _latencies(bed.target.plain, start.target)
        finally:
            sender.stop()
    return float(np.percentile(found, 50)), float(np.percentile(found, 99))


class _Sender(threading.Thread):
    """RATE records a second, the time in each."""

    def __init__(self, brokers: str, topic: str) -> None:
        super().__init__(daemon=True)
        self._producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0})
        self._topic = topic
        self._enough = False

    def run(self) -> None:
        """Send until told to stop."""
        began, sent = time.perf_counter(), 0
        while not self._enough:
            due = int((time.perf_counter() - began) * RATE)
            while sent < due:
                self._producer.produce(self._topic, b"%020d" % time.time_ns() + b"x" * (_SIZE - 20), partition=sent % 4)
                sent += 1
            self._producer.poll(0)
            time.sleep(0.001)
        self._producer.flush(5)

    def stop(self) -> None:
        """End."""
        self._enough = True
        self.join()


def _latencies(brokers: str, topic: str) -> list[float]:
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "bench",
            "enable.auto.commit": False,
            "auto.offset.reset": "latest",
            "fetch.queue.backoff.ms": 1,
        }
    )
    consumer.assign([TopicPartition(topic, partition) for partition in range(4)])
    found: list[float] = []
    first = None
    while first is None or time.monotonic() < first + _WARM_S + _SECONDS:
        for message in consumer.consume(100, 0.002):
            now = time.time_ns()
            first = first or time.monotonic()
            if time.monotonic() > first + _WARM_S and not message.error():
                found.append((now - int((message.value() or b"")[:20])) / 1e6)
    consumer.close()
    if len(found) < RATE * _SECONDS / 2:
        raise Unreachable(f"only {len(found)} records of {topic} arrived in {_SECONDS} s")
    return found


def new_topic(bed: Bed, system: System) -> float:
    """Seconds from making a topic with a record in it to that record at the target; 125 where it never came."""
    stem = bed.fresh("fresh-")
    asyncio.run(_make(bed.source, f"{stem}-a"))
    Producer({"bootstrap.servers": bed.source.plain}).flush()
    start = system.start(bed, Case(stem, 1, _SIZE), f"{stem}-a", pattern=f"{stem}-.*")
    with running(bed, start, system.name):
        _produce(bed.source.plain, f"{stem}-a")
        _await_record(bed.target, start.target, _FIRST_S)
        time.sleep(2.0)
        began = time.monotonic()
        asyncio.run(_make(bed.source, f"{stem}-b"))
        _produce(bed.source.plain, f"{stem}-b")
        try:
            _await_record(bed.target, start.target.removesuffix("a") + "b", _NEW_S)
        except Unreachable:
            return _NEW_S
        return time.monotonic() - began


def _produce(brokers: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(topic, b"first", b"key")
    if producer.flush(20):
        raise Unreachable(f"nobody takes a record of {topic}")


async def _make(ends: Ends, topic: str) -> None:
    async with Cluster(ends.settings(tls=False), client_id="bench") as cluster:
        await create_topic(cluster, TopicSpec(topic, 4, {}))


def _await_topic(ends: Ends, topic: str, deadline_s: float) -> None:
    admin, until = AdminClient({"bootstrap.servers": ends.plain}), time.monotonic() + deadline_s
    while topic not in admin.list_topics(timeout=10).topics:
        if time.monotonic() > until:
            raise Unreachable(f"{topic} is not at the target after {deadline_s:g} s")
        time.sleep(0.05)


def _end(consumer: Consumer, topic: str, partition: int) -> int:
    """Last offset of a partition; 0 while a topic that was just made has no leader."""
    try:
        found = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10, cached=False)
    except KafkaException as error:
        if error.args[0].retriable() or error.args[0].name() in _NO_LEADER:
            return 0
        raise
    return int(found[1]) if found else 0


def _await_record(ends: Ends, topic: str, deadline_s: float) -> None:
    until = time.monotonic() + deadline_s
    _await_topic(ends, topic, deadline_s)
    consumer = Consumer({"bootstrap.servers": ends.plain, "group.id": "bench", "enable.auto.commit": False})
    while True:
        if any(_end(consumer, topic, partition) for partition in range(4)):
            consumer.close()
            return
        if time.monotonic() > until:
            raise Unreachable(f"no record of {topic} after {deadline_s:g} s")
        time.sleep(0.02)
