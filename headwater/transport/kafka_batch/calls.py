"""The calls that move data: Metadata, ListOffsets, Fetch, Produce.

Each is spoken at its highest non-flexible version, which Kafka 2.4 to 4.3 accept: no topic ids and no varints on the
hot path. Layouts: clients/src/main/resources/common/message/*.json in Apache Kafka.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headwater.transport.kafka_batch.wire import INT32, Api, Buffer, Call, Parts, Reader, Sendable, array, string

PRODUCE = Api("Produce", 0, 8)
FETCH = Api("Fetch", 1, 11)
LIST_OFFSETS = Api("ListOffsets", 2, 5)
METADATA = Api("Metadata", 3, 7)

EARLIEST_MS = -2
LATEST_MS = -1

TopicPartition = tuple[str, int]


class Broker(NamedTuple):
    """Where a broker listens."""

    node: int
    host: str
    port: int


class Leader(NamedTuple):
    """Who leads a partition; node -1 while an election runs."""

    node: int
    epoch: int
    error: int


class TopicMetadata(NamedTuple):
    """A topic's error code and its leaders by partition."""

    error: int
    leaders: dict[int, Leader]


class ClusterMetadata(NamedTuple):
    """Answer to Metadata."""

    brokers: dict[int, Broker]
    cluster_id: str
    topics: dict[str, TopicMetadata]


class ListedOffset(NamedTuple):
    """Answer to ListOffsets for one partition; offset -1 where no record is that young."""

    error: int
    timestamp_ms: int
    offset: int


class Fetched(NamedTuple):
    """What one Fetch brought of one partition.

    `high_watermark` and `last_stable` are the first offsets that are not yet replicated or not yet decided; `aborted`
    lists (producer id, first offset) and is filled with `read_committed` only. `data` holds whole batches and perhaps
    one cut short (`batches` drops it); it is a view into the response and is valid as long as it is kept.
    """

    topic: str
    partition: int
    error: int
    high_watermark: int
    last_stable: int
    log_start: int
    aborted: list[tuple[int, int]]
    data: memoryview


class Produced(NamedTuple):
    """Answer to one produced batch.

    `detail` is the broker's own sentence, if it gave one; `at_fault` says which records it refuses (KIP-467), from 0.
    """

    topic: str
    partition: int
    error: int
    base_offset: int
    detail: str = ""
    at_fault: tuple[int, ...] = ()


def _by_topic(pairs: Mapping[TopicPartition, bytes]) -> bytes:
    """ARRAY of topics, each with the ARRAY of its encoded partitions."""
    grouped: dict[str, list[bytes]] = {}
    for (topic, _), encoded in pairs.items():
        grouped.setdefault(topic, []).append(encoded)
    return array([string(topic) + array(parts) for topic, parts in grouped.items()])


def metadata(topics: Sequence[str] | None) -> Call[ClusterMetadata]:
    """Ask for brokers and leaders; no topic is created by asking. None asks for every topic, [] for brokers only."""
    body = INT32.pack(-1) if topics is None else array([string(topic) for topic in topics])
    return Call(METADATA, [body + b"\0"], _read_metadata)


def _read_metadata(r: Reader) -> ClusterMetadata:
    r.int32()
    brokers = {}
    for _ in r.times():
        broker = Broker(r.int32(), r.name(), r.int32())
        brokers[broker.node] = broker
        r.string()
    cluster_id = r.name()
    r.int32()
    topics = {}
    for _ in r.times():
        error, topic = r.int16(), r.name()
        r.slice(1)
        leaders = {}
        for _ in r.times():
            code, partition, node, epoch = r.take(_LEADER)
            leaders[partition] = Leader(node, epoch, code)
            for _ in range(3):  # replicas, in-sync, offline
                r.slice(4 * len(r.times()))
        topics[topic] = TopicMetadata(error, leaders)
    return ClusterMetadata(brokers, cluster_id, topics)


_LEADER = struct.Struct(">hiii")


def list_offsets(want: Mapping[TopicPartition, int]) -> Call[dict[TopicPartition, ListedOffset]]:
    """Ask for the first offset at or after a time in ms, or for EARLIEST_MS or LATEST_MS."""
    body = _by_topic({pair: _OFFSET_AT.pack(pair[1], -1, stamp) for pair, stamp in want.items()})
    return Call(LIST_OFFSETS, [struct.pack(">ib", -1, 0), body], _read_list_offsets)


_OFFSET_AT = struct.Struct(">iiq")
_LISTED = struct.Struct(">ihqqi")


def _read_list_offsets(r: Reader) -> dict[TopicPartition, ListedOffset]:
    r.int32()
    found = {}
    for _ in r.times():
        topic = r.name()
        for _ in r.times():
            partition, error, stamp, offset, _epoch = r.take(_LISTED)
            found[topic, partition] = ListedOffset(error, stamp, offset)
    return found


class FetchLimits(NamedTuple):
    """Bounds of one Fetch: how long the broker may wait (ms) for `min_bytes`, and how much it may send."""

    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    partition_max_bytes: int
    read_committed: bool


def fetch(want: Mapping[TopicPartition, int], limits: FetchLimits) -> Call[tuple[int, int, list[Fetched]]]:
    """Fetch from offsets; the answer is (error code of the whole, throttle time in ms, partitions)."""
    parts = {pair: _FROM.pack(pair[1], -1, offset, -1, limits.partition_max_bytes) for pair, offset in want.items()}
    head = struct.pack(
        ">iiiibii", -1, limits.max_wait_ms, limits.min_bytes, limits.max_bytes, limits.read_committed, 0, -1
    )
    return Call(FETCH, [head, _by_topic(parts), INT32.pack(0) + string("")], _read_fetch)


_FROM = struct.Struct(">iiqqi")
_FETCHED = struct.Struct(">ihqqqi")
_ABORTED = struct.Struct(">qq")


def _read_fetch(r: Reader) -> tuple[int, int, list[Fetched]]:
    throttle_ms, error = r.int32(), r.int16()
    r.int32()
    found = []
    for _ in r.times():
        topic = r.name()
        for _ in r.times():
            partition, code, high, stable, start, aborted_count = r.take(_FETCHED)
            aborted = [(pid, first) for pid, first in (r.take(_ABORTED) for _ in range(max(aborted_count, 0)))]
            r.int32()
            found.append(Fetched(topic, partition, code, high, stable, start, aborted, r.blob()))
    return error, throttle_ms, found


def produce(batches: Sequence[tuple[str, int, Sendable]], timeout_ms: int) -> Call[tuple[int, list[Produced]]]:
    """Write batches, at most one a partition, acknowledged by all in-sync replicas; the answer is (throttle ms, each).

    The batches are not copied here.
    """
    grouped: dict[str, list[tuple[str, int, Sendable]]] = {}
    for each in batches:
        grouped.setdefault(each[0], []).append(each)
    body: list[Buffer] = [_PRODUCE.pack(-1, -1, timeout_ms, len(grouped))]
    for topic, parts in grouped.items():
        body.append(string(topic) + INT32.pack(len(parts)))
        for _, partition, batch in parts:
            if isinstance(batch, Parts):
                body.append(_PART.pack(partition, len(batch.head) + len(batch.rest)) + batch.head)
                body.append(batch.rest)
            else:
                body.append(_PART.pack(partition, len(batch)))
                body.append(batch)
    return Call(PRODUCE, body, _read_produce)


_PRODUCE = struct.Struct(">hhii")  # no transactional id, acknowledgements of all, timeout, topics
_PART = struct.Struct(">ii")
_PRODUCED = struct.Struct(">ihqqqih")
_SAID_BYTES = 6  # of these, the number of refused records and the length of the broker's sentence
_TOLD = 3  # of what may be as many records as a batch has


def _read_produce(r: Reader) -> tuple[int, list[Produced]]:
    found = []
    for _ in r.times():
        topic = r.name()
        for _ in r.times():
            partition, error, base_offset, _append_time, _log_start, refused, text = r.take(_PRODUCED)
            if not refused and text < 0:
                found.append(Produced(topic, partition, error, base_offset))
                continue
            r.at -= _SAID_BYTES
            per_record = [(r.int32(), r.name()) for _ in r.times()]
            texts = [f"record {index}: {text}" for index, text in per_record[:_TOLD]]
            detail = "; ".join(filter(None, (r.name(), *texts)))
            at_fault = tuple(index for index, _ in per_record)
            found.append(Produced(topic, partition, error, base_offset, detail, at_fault))
    return r.int32(), found
