"""Consumer groups from outside: which there are, where they stand, and setting where an idle one stands.

ListGroups, FindCoordinator, OffsetFetch, OffsetCommit, each at its highest version without tagged fields. Layouts:
clients/src/main/resources/common/message/*.json in Apache Kafka.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.calls import Broker, TopicPartition
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.transactions import FIND_COORDINATOR
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, array, string

OFFSET_COMMIT = Api("OffsetCommit", 8, 7)
OFFSET_FETCH = Api("OffsetFetch", 9, 5)
LIST_GROUPS = Api("ListGroups", 16, 2)

T = TypeVar("T")
_GROUP = b"\0"  # FindCoordinator's key type
_CONSUMERS = ("", "consumer")  # protocol types; without one, offsets were committed by hand
_NO_EPOCH = -1
_STALE_MEMBER_EPOCH = 113
_NO_GENERATION = -1  # of a committer that is no member: refused while the group has members


class Committed(NamedTuple):
    """Where a group stands in a partition: the next offset that it reads."""

    offset: int
    metadata: str = ""


async def list_groups(cluster: Cluster) -> list[str]:
    """Consumer groups of a cluster that this user may see, sorted; asks every broker."""
    found: set[str] = set()
    for node in await cluster.nodes():
        error, groups = await cluster.ask_node(node, Call(LIST_GROUPS, [b""], _read_list_groups))
        codes.check(error, "asking for consumer groups")
        found |= {group for group, protocol in groups if protocol in _CONSUMERS}
    return sorted(found)


def _read_list_groups(r: Reader) -> tuple[int, list[tuple[str, str]]]:
    r.int32()
    error = r.int16()
    return error, [(r.name(), r.name()) for _ in r.times()]


class Groups:
    """Offsets of the groups of one cluster; coordinators are remembered until they prove wrong."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._coordinators: dict[str, int] = {}

    async def committed(self, group: str) -> dict[TopicPartition, Committed]:
        """Where a group stands, in all partitions in which it stands anywhere; nothing for a group that is not there.

        Refused: this user may not see the group. Transient: its coordinator moves.
        """
        body = string(group) + INT32.pack(-1)
        error, found = await self.ask(group, Call(OFFSET_FETCH, [body], _read_offset_fetch))
        self.check(group, error, f"asking for the offsets of group {group}")
        return found

    async def commit(self, group: str, offsets: Mapping[TopicPartition, Committed]) -> bool:
        """Set where a group stands, in these partitions only; False if it has members: nothing is changed then.

        The broker itself refuses who is no member while there are members. Refused, BadInput, Transient: as it answers.
        """
        body = string(group) + INT32.pack(_NO_GENERATION) + string("") + string(None) + _offsets(offsets)
        answers = await self.ask(group, Call(OFFSET_COMMIT, [body], _read_offset_commit))
        for (topic, partition), error in answers.items():
            if error in _HAS_MEMBERS:
                return False
            self.check(group, error, f"setting the offset of group {group} in {topic}[{partition}]")
        return True

    async def ask(self, group: str, call: Call[T]) -> T:
        """Have a group's coordinator answer; Transient while there is none."""
        node = self._coordinators.get(group)
        if node is None:
            asked = Call(FIND_COORDINATOR, [string(group) + _GROUP], _read_coordinator)
            error, broker = await self._cluster.ask_any(asked)
            codes.check(error, f"looking for the coordinator of group {group}")
            node = self._coordinators[group] = broker.node
        return await self._cluster.ask_node(node, call)

    def check(self, group: str, error: int, doing: str) -> None:
        """Raise unless a coordinator agreed, and look for another one next time if it says that it is none."""
        if error in codes.STALE_COORDINATOR:
            self._coordinators.pop(group, None)
        codes.check(error, doing)


_HAS_MEMBERS = frozenset(
    {codes.ILLEGAL_GENERATION, codes.UNKNOWN_MEMBER_ID, codes.REBALANCE_IN_PROGRESS, _STALE_MEMBER_EPOCH}
)


def _read_coordinator(r: Reader) -> tuple[int, Broker]:
    r.int32()
    error = r.int16()
    r.string()
    return error, Broker(r.int32(), r.name(), r.int32())


_PLACE = struct.Struct(">iqi")


def _offsets(offsets: Mapping[TopicPartition, Committed]) -> bytes:
    topics: dict[str, list[bytes]] = {}
    for (topic, partition), (offset, metadata) in offsets.items():
        topics.setdefault(topic, []).append(_PLACE.pack(partition, offset, _NO_EPOCH) + string(metadata))
    return array([string(topic) + array(parts) for topic, parts in topics.items()])


def _read_offset_fetch(r: Reader) -> tuple[int, dict[TopicPartition, Committed]]:
    r.int32()
    found = {}
    for _ in r.times():
        topic = r.name()
        for _ in r.times():
            partition, offset, _epoch = r.take(_PLACE)
            metadata, error = r.name(), r.int16()
            if error == codes.NONE and offset >= 0:
                found[topic, partition] = Committed(offset, metadata)
    return r.int16(), found


def _read_offset_commit(r: Reader) -> dict[TopicPartition, int]:
    r.int32()
    found = {}
    for _ in r.times():
        topic = r.name()
        for _ in r.times():
            partition = r.int32()
            found[topic, partition] = r.int16()
    return found
