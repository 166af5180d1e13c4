"""The calls that look over all topics, and that change existing ones.

Layouts and routing as in administration.py.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from headwater.transport.kafka_batch import calls, codes
from headwater.transport.kafka_batch.administration import DESCRIBE_CONFIGS
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, array, string

CREATE_PARTITIONS = Api("CreatePartitions", 37, 1)
INCREMENTAL_ALTER_CONFIGS = Api("IncrementalAlterConfigs", 44, 0)

_TOPIC_RESOURCE = 2
_SET = 0
_SET_AT_TOPIC = 1  # DescribeConfigsResponse.ConfigSource.TOPIC_CONFIG
_NULL_ARRAY = INT32.pack(-1)


async def all_topics(cluster: Cluster, names: Sequence[str] | None = None) -> dict[str, int]:
    """Every topic that this user may see, or those of `names` that exist, with their numbers of partitions.

    One request, whatever their number.
    """
    answer = await cluster.ask_any(calls.metadata(names))
    return {name: len(topic.leaders) for name, topic in answer.topics.items() if topic.error == codes.NONE}


async def cluster_id(cluster: Cluster) -> str:
    """The id by which a cluster is the same one under any address."""
    return (await cluster.ask_any(calls.metadata([]))).cluster_id


class Config(NamedTuple):
    """A value in force; `is_set`: for this topic, not by a default of the brokers."""

    value: str
    is_set: bool


async def all_configs(cluster: Cluster, topic: str) -> dict[str, Config]:
    """Every configuration of a topic by name."""
    resource = bytes([_TOPIC_RESOURCE]) + string(topic) + _NULL_ARRAY
    call = Call(DESCRIBE_CONFIGS, [INT32.pack(1) + resource + b"\0"], _read_configs)
    error, detail, found = await cluster.ask_any(call)
    doing = f"asking for the configuration of {topic}"
    codes.check(error, doing, detail, denied=cluster.denied("DescribeConfigs", topic))
    return found


def _read_configs(r: Reader) -> tuple[int, str, dict[str, Config]]:
    r.int32()
    r.times()
    error, detail = r.int16(), r.name()
    r.slice(1)
    r.string()
    found = {}
    for _ in r.times():
        name, value = r.name(), r.string()
        _read_only, source, _sensitive = r.slice(3)
        for _ in r.times():  # synonyms, not asked for
            r.string()
            r.string()
            r.slice(1)
        if value is not None:
            found[name] = Config(value, source == _SET_AT_TOPIC)
    return error, detail, found


async def add_partitions(cluster: Cluster, topic: str, count: int) -> None:
    """Raise a topic to `count` partitions; BadInput if it has as many or more. Refused: as the cluster answers."""
    timeout_ms = int(cluster.settings.request_timeout_s * 500)
    body = array([string(topic) + INT32.pack(count) + _NULL_ARRAY]) + struct.pack(">ib", timeout_ms, 0)
    error, detail = await cluster.ask_any(Call(CREATE_PARTITIONS, [body], _read_create_partitions))
    codes.check(error, f"raising {topic} to {count} partitions", detail, denied=cluster.denied("Alter", topic))


def _read_create_partitions(r: Reader) -> tuple[int, str]:
    r.int32()
    r.times()
    r.string()
    return r.int16(), r.name()


async def set_topic_configs(cluster: Cluster, topic: str, configs: Mapping[str, str]) -> None:
    """Set configurations of a topic and leave its others; Refused, BadInput: as the cluster answers."""
    settings = [string(name) + bytes([_SET]) + string(value) for name, value in configs.items()]
    resource = bytes([_TOPIC_RESOURCE]) + string(topic) + array(settings)
    error, detail = await cluster.ask_any(Call(INCREMENTAL_ALTER_CONFIGS, [array([resource]) + b"\0"], _read_altered))
    doing = f"setting {', '.join(configs)} of {topic}"
    codes.check(error, doing, detail, denied=cluster.denied("AlterConfigs", topic))


def _read_altered(r: Reader) -> tuple[int, str]:
    r.int32()
    r.times()
    return r.int16(), r.name()
