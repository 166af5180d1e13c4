"""The two calls by which topics are made and asked about: CreateTopics and DescribeConfigs.

For processes that must stay small; all else about administration is in headwater/transport/kafka.py. Layouts:
clients/src/main/resources/common/message/*.json in Apache Kafka, at the highest version without tagged fields. Any
broker of a KRaft cluster passes CreateTopics on to the controller.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence

from headwater.contract.errors import BadInput, Unreachable
from headwater.contract.topics import TopicSpec
from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, array, string

CREATE_TOPICS = Api("CreateTopics", 19, 4)
DESCRIBE_CONFIGS = Api("DescribeConfigs", 32, 2)

_TOPIC_RESOURCE = 2
_NOTICED_PAUSE_S = 0.05


async def create_topic(cluster: Cluster, spec: TopicSpec, *, replication_factor: int = 1) -> bool:
    """Create a topic unless it exists, and wait until it can be used; whether it was created.

    Refused, BadInput: as the cluster answers. Unreachable: the brokers do not know of it in time.
    """
    timeout_s = cluster.settings.request_timeout_s
    error, detail = await cluster.ask_any(_create_topics(spec, replication_factor, int(timeout_s * 500)))
    if error != codes.TOPIC_ALREADY_EXISTS:
        codes.check(error, f"creating topic {spec.name}", detail, denied=cluster.denied("Create", spec.name))
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            await cluster.partitions(spec.name)
        except BadInput as unknown:
            if time.monotonic() > deadline:
                raise Unreachable(f"topic {spec.name} was created, but is not known after {timeout_s:g} s") from unknown
            await asyncio.sleep(_NOTICED_PAUSE_S)
        else:
            return error == codes.NONE


async def topic_configs(cluster: Cluster, topic: str, names: Sequence[str]) -> dict[str, str]:
    """Configurations of a topic by name, set or default; those that the broker does not know are left out."""
    error, detail, found = await cluster.ask_any(_describe_configs(topic, names))
    doing = f"asking for the configuration of {topic}"
    codes.check(error, doing, detail, denied=cluster.denied("DescribeConfigs", topic))
    return found


def _create_topics(spec: TopicSpec, replication_factor: int, timeout_ms: int) -> Call[tuple[int, str]]:
    configs = [string(name) + string(value) for name, value in spec.configs.items()]
    topic = string(spec.name) + struct.pack(">ihi", spec.partitions, replication_factor, 0) + array(configs)
    return Call(CREATE_TOPICS, [array([topic]) + struct.pack(">ib", timeout_ms, 0)], _read_create_topics)


def _read_create_topics(r: Reader) -> tuple[int, str]:
    r.int32()
    outcomes = []
    for _ in r.times():
        r.string()
        outcomes.append((r.int16(), r.name()))
    return outcomes[0]


def _describe_configs(topic: str, names: Sequence[str]) -> Call[tuple[int, str, dict[str, str]]]:
    resource = bytes([_TOPIC_RESOURCE]) + string(topic) + array([string(name) for name in names])
    return Call(DESCRIBE_CONFIGS, [INT32.pack(1) + resource + b"\0"], _read_describe_configs)


def _read_describe_configs(r: Reader) -> tuple[int, str, dict[str, str]]:
    r.int32()
    r.times()
    error, detail = r.int16(), r.name()
    r.slice(1)
    r.string()
    found = {}
    for _ in r.times():
        name, value = r.name(), r.string()
        r.slice(3)  # read-only, source, sensitive
        for _ in r.times():  # synonyms, not asked for
            r.string()
            r.string()
            r.slice(1)
        if value is not None:
            found[name] = value
    return error, detail, found
