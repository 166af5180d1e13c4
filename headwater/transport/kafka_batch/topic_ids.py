"""The id of a topic (KIP-516): another one under the same name is another topic, whatever it holds.

Layout: Metadata version 10 in clients/src/main/resources/common/message/MetadataRe{quest,sponse}.json of Apache Kafka;
the version with which ids came (2.8).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.wire import Api, Call, Reader, compact_array, compact_string

METADATA_WITH_IDS = Api("Metadata", 3, 10, flexible=True)
_ID_BYTES = 16
_NONE = bytes(_ID_BYTES)


async def topic_id(cluster: Cluster, topic: str) -> str:
    """Id of a topic in hex, empty where the cluster has none for it (made before Kafka 2.8).

    Transient: there is no such topic, or a broker is away.
    """
    error, found = (await cluster.ask_any(_ask([topic])))[topic]
    codes.check(error, f"asking for the id of topic {topic}", denied=cluster.denied("Describe", topic))
    return "" if found == _NONE else found.hex()


async def topic_ids(cluster: Cluster, topics: Sequence[str]) -> dict[str, str]:
    """Ids of several topics in hex, in one call; those that the cluster does not show have none."""
    found = await cluster.ask_any(_ask(topics))
    return {topic: number.hex() for topic, (error, number) in found.items() if not error and number != _NONE}


def _ask(topics: Sequence[str]) -> Call[dict[str, tuple[int, bytes]]]:
    wanted = [_NONE + compact_string(topic) + b"\0" for topic in topics]
    # No topic is made by asking; lists of what is allowed are not asked for.
    return Call(METADATA_WITH_IDS, [compact_array(wanted) + b"\0\0\0" + b"\0"], _read)


_PARTITION = struct.Struct(">hiii")


def _read(r: Reader) -> dict[str, tuple[int, bytes]]:
    r.int32()
    for _ in r.compact_times():
        r.int32()
        r.compact_string()
        r.int32()
        r.compact_string()
        r.skip_tags()
    r.compact_string()
    r.int32()
    found = {}
    for _ in r.compact_times():
        error, name = r.int16(), r.compact_string()
        found[name or ""] = (error, bytes(r.slice(_ID_BYTES)))
        r.slice(1)
        for _ in r.compact_times():
            r.take(_PARTITION)
            for _ in range(3):  # replicas, in-sync, offline
                r.slice(4 * len(r.compact_times()))
            r.skip_tags()
        r.int32()
        r.skip_tags()
    return found
