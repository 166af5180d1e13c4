"""Kafka by whole record batches: the log is read and written without unpacking it; a writer fences its former life."""

from headwater.transport.kafka_batch.batches import Batch, batches, restamp
from headwater.transport.kafka_batch.calls import Fetched, Produced, TopicPartition
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.lane import SetBack
from headwater.transport.kafka_batch.reading import read_compacted, read_range, read_records, read_tail
from headwater.transport.kafka_batch.records import Out, Record, encode, records
from headwater.transport.kafka_batch.settings import KafkaSettings
from headwater.transport.kafka_batch.transactions import Producer, ProducerState
from headwater.transport.kafka_batch.writer import Writer

__all__ = [
    "Batch",
    "Cluster",
    "Fetched",
    "KafkaSettings",
    "Out",
    "Produced",
    "Producer",
    "ProducerState",
    "Record",
    "SetBack",
    "TopicPartition",
    "Writer",
    "batches",
    "encode",
    "read_compacted",
    "read_range",
    "read_records",
    "read_tail",
    "records",
    "restamp",
]
