"""The calls that say who writes: FindCoordinator, InitProducerId, AddPartitionsToTxn, EndTxn, DescribeProducers.

Transactions hold no data here; an empty aborted one is a fence (see fence.py). Layouts: as in calls.py.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headwater.transport.kafka_batch.calls import Broker, TopicPartition
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, array, compact_array, compact_string, string

FIND_COORDINATOR = Api("FindCoordinator", 10, 2)
INIT_PRODUCER_ID = Api("InitProducerId", 22, 4, flexible=True)
ADD_PARTITIONS_TO_TXN = Api("AddPartitionsToTxn", 24, 2)
END_TXN = Api("EndTxn", 26, 2)
DESCRIBE_PRODUCERS = Api("DescribeProducers", 61, 0, flexible=True)

_TRANSACTION = 1  # FindCoordinator's key type


class Producer(NamedTuple):
    """Who writes: a producer id and the epoch of this life."""

    id: int
    epoch: int


class ProducerState(NamedTuple):
    """What a partition's leader knows of one producer; `last_sequence` -1 if it has written nothing in this epoch."""

    producer: Producer
    last_sequence: int
    last_timestamp_ms: int


def find_coordinator(transactional_id: str) -> Call[tuple[int, Broker]]:
    """Ask which broker coordinates a transactional id; the answer is (error code, broker)."""
    return Call(FIND_COORDINATOR, [string(transactional_id) + bytes([_TRANSACTION])], _read_find_coordinator)


def _read_find_coordinator(r: Reader) -> tuple[int, Broker]:
    r.int32()
    error = r.int16()
    r.string()
    return error, Broker(r.int32(), r.name(), r.int32())


def init_producer_id(transactional_id: str | None, timeout_ms: int) -> Call[tuple[int, Producer]]:
    """Ask for a producer id; a transactional id keeps its id and gets the next epoch. Answer: (error, producer)."""
    body = compact_string(transactional_id) + struct.pack(">iqh", timeout_ms, -1, -1) + b"\0"
    return Call(INIT_PRODUCER_ID, [body], _read_init_producer_id)


def _read_init_producer_id(r: Reader) -> tuple[int, Producer]:
    r.int32()
    return r.int16(), Producer(r.int64(), r.int16())


def add_partitions_to_txn(
    transactional_id: str, producer: Producer, partitions: Mapping[str, Sequence[int]]
) -> Call[dict[TopicPartition, int]]:
    """Put partitions into the open transaction; the answer is an error code for each."""
    topics = [string(topic) + array([INT32.pack(p) for p in each]) for topic, each in partitions.items()]
    body = string(transactional_id) + struct.pack(">qh", *producer) + array(topics)
    return Call(ADD_PARTITIONS_TO_TXN, [body], _read_add_partitions)


def _read_add_partitions(r: Reader) -> dict[TopicPartition, int]:
    r.int32()
    found = {}
    for _ in r.times():
        topic = r.name()
        for _ in r.times():
            partition = r.int32()
            found[topic, partition] = r.int16()
    return found


def end_txn(transactional_id: str, producer: Producer, *, commit: bool) -> Call[int]:
    """End the transaction; the answer is an error code."""
    return Call(END_TXN, [string(transactional_id) + struct.pack(">qhb", *producer, commit)], _read_end_txn)


def _read_end_txn(r: Reader) -> int:
    r.int32()
    return r.int16()


def describe_producers(topic: str, partitions: Sequence[int]) -> Call[dict[int, tuple[int, list[ProducerState]]]]:
    """Ask leaders which producers they know; the answer is (error code, producers) by partition."""
    inner = compact_string(topic) + compact_array([INT32.pack(p) for p in partitions]) + b"\0"
    return Call(DESCRIBE_PRODUCERS, [compact_array([inner]) + b"\0"], _read_describe_producers)


_STATE = struct.Struct(">qiiqiq")


def _read_describe_producers(r: Reader) -> dict[int, tuple[int, list[ProducerState]]]:
    r.int32()
    found = {}
    for _ in r.compact_times():
        r.compact_string()
        for _ in r.compact_times():
            partition, error = r.int32(), r.int16()
            r.compact_string()
            states = []
            for _ in r.compact_times():
                pid, epoch, sequence, stamp, _coordinator, _start = r.take(_STATE)
                r.skip_tags()
                states.append(ProducerState(Producer(pid, epoch), sequence, stamp))
            r.skip_tags()
            found[partition] = (error, states)
        r.skip_tags()
    return found
