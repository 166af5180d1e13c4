"""DeleteRecords: a log begins later. Layout: DeleteRecordsRequest.json in Apache Kafka, before tagged fields."""

from __future__ import annotations

import struct

from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, array, string

DELETE_RECORDS = Api("DeleteRecords", 21, 1)


async def delete_records(cluster: Cluster, topic: str, partition: int, before: int) -> int:
    """Delete what is before an offset; returns where the log begins now.

    Refused: this user may not, or the topic is compacted. BadInput: the log ends before that offset. Transient: try
    again.
    """
    outbox = await cluster.reach(topic, partition)
    timeout_ms = int(cluster.settings.request_timeout_s * 500)
    first, error = await outbox.connection.request(_delete_records(topic, partition, before, timeout_ms))
    cluster.note(topic, error)
    doing = f"deleting what is before offset {before} of {topic}[{partition}]"
    codes.check(error, doing, denied=cluster.denied("Delete", topic))
    return first


def _delete_records(topic: str, partition: int, before: int, timeout_ms: int) -> Call[tuple[int, int]]:
    partitions = array([struct.pack(">iq", partition, before)])
    return Call(DELETE_RECORDS, [array([string(topic) + partitions]) + INT32.pack(timeout_ms)], _read_delete_records)


def _read_delete_records(r: Reader) -> tuple[int, int]:
    r.int32()
    r.times()
    r.string()
    r.times()
    r.int32()
    return r.int64(), r.int16()
