"""What is in topics, read by the stock client as any reader would: committed records only."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # public, not exported by its stub

_END = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # confluent_kafka's own stub
_READ_S = 60.0
_TURN_S = 0.4
_STALL_S = 1.5


class Entry(NamedTuple):
    """A record. `number` is None where its value is none of the numbered ones."""

    offset: int
    key: bytes
    number: int | None


def entry(offset: int, key: bytes | None, value: bytes | None) -> Entry:
    """A record of the feed."""
    head = (value or b"").partition(b" ")[0]
    return Entry(offset, key or b"", int(head) if head.isdigit() else None)


def committed(brokers: str, topic: str, partitions: int) -> list[list[Entry]]:
    """Everything that a read_committed reader gets, by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "count",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,
            "log_level": 0,
        }
    )
    found: list[list[Entry]] = [[] for _ in range(partitions)]
    left = set(range(partitions))
    end = time.monotonic() + _READ_S
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in left])
        while left:
            assert time.monotonic() < end, f"reading {topic} took {_READ_S:g} s"
            for message in consumer.consume(2000, 0.1):
                error, partition = message.error(), message.partition() or 0
                if error is None:
                    found[partition].append(entry(message.offset() or 0, message.key(), message.value()))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(partition)
    finally:
        consumer.close()
    return found


def ends(brokers: str, topics: Sequence[str]) -> dict[str, list[int]]:
    """Where each partition ends; nothing of a topic that is not there."""
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    for _ in range(int(_READ_S / _TURN_S)):
        with suppress(KafkaException):
            return _ends(admin, topics)
        time.sleep(_TURN_S)
    raise AssertionError(f"{brokers} does not tell where its topics end")


def _ends(admin: AdminClient, topics: Sequence[str]) -> dict[str, list[int]]:
    there = admin.list_topics(timeout=20).topics
    found: dict[str, list[int]] = {}
    for topic in topics:
        if topic in there:
            pairs = [TopicPartition(topic, partition) for partition in sorted(there[topic].partitions)]
            asked = admin.list_offsets(dict.fromkeys(pairs, _END), request_timeout=20)
            found[topic] = [int(asked[pair].result().offset) for pair in pairs]
    return found


class Watch:
    """Looks again and again whether readers of committed records are held up: `stalls` are the times that they were."""

    def __init__(self, brokers: str, topics: Mapping[str, int]) -> None:
        self.stalls = 0
        self.looks = 0
        self.why = ""  # nothing was seen, the last time
        self._brokers = brokers
        self._pairs = [
            TopicPartition(topic, partition) for topic, count in topics.items() for partition in range(count)
        ]
        self._over = threading.Event()
        self._since: dict[tuple[str, int], tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        admin = self._client()
        while not self._over.wait(_TURN_S):
            try:
                stable = self._ask(admin, IsolationLevel.READ_COMMITTED)
                self._judge(stable, self._ask(admin, IsolationLevel.READ_UNCOMMITTED))
                self.looks += 1
            except KafkaException as error:  # the target is away, or has no such topic yet
                self.why = str(error)
                self._since.clear()
                admin = self._client()  # an old one insists on what it knew of leaders

    def _client(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._brokers, "log_level": 0, "reconnect.backoff.max.ms": 500})

    def _ask(self, admin: AdminClient, level: IsolationLevel) -> dict[tuple[str, int], int]:
        asked = admin.list_offsets(dict.fromkeys(self._pairs, _END), isolation_level=level, request_timeout=10)
        return {(pair.topic, pair.partition): int(each.result().offset) for pair, each in asked.items()}

    def _judge(self, stable: Mapping[tuple[str, int], int], written: Mapping[tuple[str, int], int]) -> None:
        """The bounds are asked one after the other, so only a bound that stands still behind the end tells."""
        now = time.monotonic()
        for pair, end in written.items():
            at, since = self._since.get(pair, (-1, now))
            if stable[pair] >= end:
                self._since.pop(pair, None)
            elif stable[pair] != at:
                self._since[pair] = (stable[pair], now)
            elif since and now - since > _STALL_S:
                self.stalls += 1
                self._since[pair] = (at, 0.0)
