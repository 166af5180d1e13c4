"""A consumer group used for what it is: who is alive, and who has which share of the work.

JoinGroup 3, SyncGroup 2, Heartbeat 2, LeaveGroup 2 (clients/src/main/resources/common/message/*.json in Apache Kafka),
with a protocol type of our own, so that the group holds no offsets and no consumer can join it. The broker sees who is
gone, chooses one member that shares out, and hands out its decision; no clock of a member is compared with another's.

An assignment is no lock: who has lost its connection believes in the old one for a while. What is written must be
fenced in another way.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple, TypeVar

from headwater.contract.errors import BadInput, Transient
from headwater.transport.kafka_batch import codes
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.groups import Groups
from headwater.transport.kafka_batch.wire import INT32, Api, Call, Reader, array, string

JOIN_GROUP = Api("JoinGroup", 11, 3)
SYNC_GROUP = Api("SyncGroup", 14, 2)
HEARTBEAT = Api("Heartbeat", 12, 2)
LEAVE_GROUP = Api("LeaveGroup", 13, 2)

SESSION_S = 6.0  # the least that a broker takes by its defaults (group.min.session.timeout.ms)
HEARTBEAT_S = 1.0
_REBALANCE_S = 3.0  # for the others to come, once somebody has come or gone
_PROTOCOL_TYPE = "headwater"
_PROTOCOL = "shares"
_LOST_MEMBER = frozenset({codes.UNKNOWN_MEMBER_ID})
_TURN = frozenset({codes.ILLEGAL_GENERATION, codes.REBALANCE_IN_PROGRESS, codes.UNKNOWN_MEMBER_ID})

T = TypeVar("T")
Shares = frozenset[int]


class Rebalanced(Transient):
    """Somebody came or went: join again."""


class _Joined(NamedTuple):
    error: int
    generation: int
    leader: str
    member: str
    others: dict[str, Shares]  # by member, with what each has; for the leader only


def shared_out(members: Mapping[str, Collection[int]], count: int) -> dict[str, Shares]:
    """Shares 0 to count - 1 for the members, as evenly as can be; who has one keeps it where that is even."""
    names = sorted(members)
    most = {name: count // len(names) + (place < count % len(names)) for place, name in enumerate(names)}
    left = set(range(count))
    found: dict[str, set[int]] = {name: set() for name in names}
    # Who holds most keeps the larger quota, so that nothing moves without need.
    quotas = sorted(most.values(), reverse=True)
    ranked = sorted(names, key=lambda name: (-len(members[name]), name))
    for name, quota in zip(ranked, quotas, strict=True):
        most[name] = quota
        kept = sorted(left.intersection(members[name]))[:quota]
        found[name].update(kept)
        left.difference_update(kept)
    for share in sorted(left):
        found[min(names, key=lambda name: (len(found[name]) - most[name], name))].add(share)
    return {name: frozenset(each) for name, each in found.items()}


class Membership:
    """One member of a group. `held` is what it has; call `join`, then `beat` every HEARTBEAT_S until that raises.

    The cluster must be its own: a join may be answered seconds later, and what is asked behind it waits.
    """

    def __init__(self, cluster: Cluster, group: str, count: int) -> None:
        self.held: Shares = frozenset()
        self._groups = Groups(cluster)
        self._group = group
        self._count = count
        self._member = ""
        self._generation = -1

    async def join(self) -> Shares:
        """Take part, and return what this member has now. Transient: try again. Refused: no right to the group."""
        metadata = _bytes(_encode(self.held))
        times = INT32.pack(int(SESSION_S * 1000)) + INT32.pack(int(_REBALANCE_S * 1000))
        protocols = array([string(_PROTOCOL) + metadata])
        body = string(self._group) + times + string(self._member) + string(_PROTOCOL_TYPE) + protocols
        joined = await self._ask(Call(JOIN_GROUP, [body], _read_join))
        self._check(joined.error, "joining")
        self._member, self._generation = joined.member, joined.generation
        given = shared_out(joined.others, self._count) if joined.leader == joined.member else {}
        assignments = array([string(name) + _bytes(_encode(shares)) for name, shares in given.items()])
        error, mine = await self._ask(Call(SYNC_GROUP, [self._me + assignments], _read_sync))
        self._check(error, "learning the shares of")
        self.held = _decode(mine)
        return self.held

    async def beat(self) -> None:
        """Say that this member is alive. Rebalanced: join again. Transient: the coordinator does not answer."""
        self._check(await self._ask(Call(HEARTBEAT, [self._me], _read_error)), "staying in")

    async def leave(self) -> None:
        """Give up the shares at once, instead of having them waited for."""
        if self._member:
            body = string(self._group) + string(self._member)
            await self._ask(Call(LEAVE_GROUP, [body], _read_error))
            self._member = ""

    @property
    def _me(self) -> bytes:
        return string(self._group) + INT32.pack(self._generation) + string(self._member)

    async def _ask(self, call: Call[T]) -> T:
        return await self._groups.ask(self._group, call)

    def _check(self, error: int, doing: str) -> None:
        if error in _LOST_MEMBER:
            self._member = ""
        if error in _TURN:
            raise Rebalanced(f"{doing} group {self._group}: {codes.name(error)}")
        self._groups.check(self._group, error, f"{doing} group {self._group}")


def _encode(shares: Collection[int]) -> bytes:
    return json.dumps(sorted(shares)).encode()


def _decode(data: bytes) -> Shares:
    try:
        return frozenset(map(int, json.loads(data or b"[]")))
    except (ValueError, TypeError) as error:
        raise BadInput(f"shares that are not readable: {error}", hint="another program is in the group") from error


def _bytes(data: bytes) -> bytes:
    return INT32.pack(len(data)) + data


def _read_join(r: Reader) -> _Joined:
    r.int32()
    error, generation = r.int16(), r.int32()
    r.name()
    leader, member = r.name(), r.name()
    return _Joined(error, generation, leader, member, {r.name(): _decode(_sized(r)) for _ in r.times()})


def _read_sync(r: Reader) -> tuple[int, bytes]:
    r.int32()
    return r.int16(), _sized(r)


def _read_error(r: Reader) -> int:
    r.int32()
    return r.int16()


def _sized(r: Reader) -> bytes:
    return bytes(r.blob())
