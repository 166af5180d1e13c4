"""The states of edge nodes in the topic `sparkplug-states`: written after what they stand for, read by the next life.

A state is built from the host as it is, so it stands for all messages up to then, and is written only when all of their
records and events are safe. Else a kill between the two would leave a state that shows messages as taken which are
nowhere. While one is on its way the next is not built: changes meanwhile share one, whatever their number.
Its headers say which messages it stands for (sparkplug_marks.py).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import structlog

from edge_agent.bridge.recogniser import Mark, mark_of
from edge_agent.bridge.sparkplug_beside import Beside
from edge_agent.bridge.sparkplug_marks import Stands, marks_in
from edge_agent.bridge.tails import Tails
from headwater.contract import headers, topics
from headwater.contract.errors import BadInput
from headwater.contract.sparkplug import Host
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import read_compacted
from headwater.transport.kafka_batch.records import Record
from headwater.transport.retry import retrying

MOST_STATE_BYTES = 700 << 10
_MOST_BUILT_BYTES = 16 << 20  # at a time
_REST = 10  # times what building a state took passes before it is built again
_TO = (topics.SPARKPLUG_STATES, 0)

_log = structlog.get_logger(__name__)


class Position(NamedTuple):
    """A message that a former life wrote: session and sequence, MQTT topic, header `hw-sparkplug`, whether at QoS 1."""

    at: tuple[int, int]
    topic: str
    where: bytes
    has_id: bool = False

    @property
    def is_birth(self) -> bool:
        """Of an edge node or a device."""
        return self.topic.split("/")[2:3] in (["NBIRTH"], ["DBIRTH"])

    @property
    def node(self) -> str:
        """Its edge node."""
        return "/".join(self.topic.split("/")[1:4:2])


class Former(NamedTuple):
    """What former lives left. `states` and what they stand for by edge node; `newest_ms` is of any record.

    `settled` are messages without records that the states stand for.
    """

    states: dict[str, bytes]
    stands: dict[str, Stands]
    positions: list[Position]
    settled: list[Mark]
    newest_ms: int


class _Built(NamedTuple):
    floor: int  # the first message that changed it
    end: int  # it stands for all messages before this place
    content: bytes
    headers: headers.Headers


class States:
    """Of one life. `mark` edge nodes that changed, then `go` whenever something was settled."""

    def __init__(self, host: Host, beside: Beside, site: str) -> None:
        self._host = host
        self._beside = beside
        self._site = site
        self._dirty: dict[str, int] = {}  # edge node: place of the first message that changed it
        self._built: dict[str, _Built] = {}
        self._under_way: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}  # monotonic

    def mark(self, node: str, place: int) -> None:
        """An edge node changed with this message."""
        self._dirty.setdefault(node, place)

    def mark_all(self, place: int) -> None:
        """Write all of them, without a rest: at the end of a life the positions in them are the newest."""
        self._rests_until = {}
        for node in self._host.edge_nodes():
            self.mark(node, place)

    def build(self, end: int, known: Callable[[str], headers.Headers]) -> None:
        """Build those that are due; all messages before place `end` have been taken, `known` says which they are.

        Those that are not due yet are marked still: call it again.
        """
        born = frozenset(self._host.edge_nodes() if self._dirty else ())
        room = _MOST_BUILT_BYTES - sum(len(built.content) for built in self._built.values())
        for node, floor in list(self._dirty.items()):
            if node not in born:
                del self._dirty[node]  # a birth was refused, and there was none before
                continue
            began = time.monotonic()
            is_busy = node in self._built or node in self._under_way or began < self._rests_until.get(node, 0.0)
            if is_busy or room <= 0:
                continue
            del self._dirty[node]
            content = self._content(node)
            room -= len(content)
            self._built[node] = _Built(floor, end, content, known(node))
            now = time.monotonic()
            self._rests_until[node] = now + _REST * (now - began)

    def go(self, safe_before: int, now_ms: int) -> None:
        """Write those for whose messages all records are safe."""
        for node, built in list(self._built.items()):
            if built.end <= safe_before:
                del self._built[node]
                self._under_way[node] = built.floor
                key = headers.text(f"{self._site}/{node}")
                self._beside.put(_TO, sys.maxsize, key, built.content, built.headers, now_ms, self._done(node))

    def floor(self, end: int) -> int:
        """The first message whose state is not safe, or `end`."""
        built = (each.floor for each in self._built.values())
        return min((end, *self._dirty.values(), *built, *self._under_way.values()))

    @property
    def is_empty(self) -> bool:
        """Whether all is safe."""
        return not self._dirty and not self._built and not self._under_way

    def _done(self, node: str) -> Callable[[], None]:
        return lambda: self._under_way.__delitem__(node)

    def _content(self, node: str) -> bytes:
        content = self._host.snapshot_of(node)
        if len(content) <= MOST_STATE_BYTES:
            return content
        _log.warning(
            "the state of a sparkplug edge node is too large to be kept", edge_node=node, bytes=len(content),
            hint="after a restart it needs a new birth; fewer or shorter metric names help",
        )  # fmt: skip
        return b""  # takes the place of an older one


async def former(cluster: Cluster, site: str, tails: Tails, client_id: str) -> Former:
    """Read what former lives of this site left; waits for a broker."""
    what = f"reading {topics.SPARKPLUG_STATES}"
    kept = await retrying(what, partial(read_compacted, cluster, topics.SPARKPLUG_STATES, 0))
    states: dict[str, bytes] = {}
    stands: dict[str, Stands] = {}
    settled: list[Mark] = []
    newest_ms = 0
    for key, record in kept.items():
        name, _, node = key.decode("utf-8", "replace").partition("/")
        if name == site and record.value:
            states[node], stands[node] = record.value, Stands.read(record)
            settled += marks_in(record, client_id)
            newest_ms = max(newest_ms, record.timestamp_ms)
    whole = (each.record for tail in tails.values() for each in tail if each.record is not None)
    positions, at_ms = _positions(whole, client_id)
    return Former(states, stands, positions, settled, max(newest_ms, at_ms))


def take_up(host: Host, left: Former, session: int) -> list[Position]:
    """Give a host what former lives left; `session`: start of the MQTT session that may go on.

    Returns births that no state has and that come again if it does go on: they were not acknowledged, nor was anything
    behind them, so all of that is left to the redelivery. If it does not, `void` them.
    """
    for node, why in host.restore(left.states).items():
        _log.warning("the state of a sparkplug edge node cannot be taken up: it needs a birth", edge_node=node, why=why)
    newest = _newest_births(left.positions)
    again: dict[str, Position] = {}
    for position in left.positions:
        saved = is_saved(left.stands, position.topic, *position.at)
        if position.is_birth and not saved and position.has_id and position.at[0] == session:
            again.setdefault(position.node, position)
        if position.node not in again:
            _resume(host, position, saved=saved or position not in newest)
    return list(again.values())


def void(host: Host, births: Iterable[Position]) -> None:
    """These births will not come again: by the tables before them, names could be wrong."""
    for position in births:
        _resume(host, position, saved=False)


def _resume(host: Host, position: Position, *, saved: bool) -> None:
    try:
        host.resume(position.topic, position.where, saved=saved)
    except BadInput as error:
        _log.warning("a position of a sparkplug message cannot be read", topic=position.topic, why=str(error))


def _newest_births(positions: Iterable[Position]) -> set[Position]:
    """The last birth of each edge node, and those of its devices since."""
    found: dict[str, dict[str, Position]] = {}
    for position in positions:
        _, group, kind, node, *device = [*position.topic.split("/"), "", "", ""][:5]
        if kind == "NBIRTH":
            found[f"{group}/{node}"] = {"": position}
        elif kind == "DBIRTH":
            found.setdefault(f"{group}/{node}", {})["".join(device)] = position
    return {position for each in found.values() for position in each.values()}


def is_saved(stands: Mapping[str, Stands], topic: str, started: int, sequence: int) -> bool:
    """Whether the state of its edge node stands for a message."""
    words = topic.split("/")
    return len(words) > 3 and stands.get(f"{words[1]}/{words[3]}", Stands()).has(started, sequence)


def _positions(records: Iterable[Record], client_id: str) -> tuple[list[Position], int]:
    """Positions in the order of receipt, and the time of the newest.

    They are of messages all of whose records are there; of births any record shows that former names are void.
    """
    found: dict[tuple[int, int], tuple[Position, Mark]] = {}
    there: dict[tuple[int, int], set[int]] = {}
    newest_ms = 0
    for record in records:
        known: Mapping[str, bytes | None] = dict(record.headers)
        where, topic = known.get(headers.SPARKPLUG), known.get(headers.MQTT_TOPIC)
        mark = mark_of(record, client_id) if where and topic else None
        if mark is not None and where and topic:
            at = mark.started, mark.sequence
            there.setdefault(at, set()).add(mark.part)
            found[at] = Position(at, topic.decode("utf-8", "replace"), where, bool(mark.packet_id)), mark
            newest_ms = max(newest_ms, record.timestamp_ms)
    whole = [position for at, (position, mark) in found.items() if len(there[at]) >= mark.parts or position.is_birth]
    return sorted(whole), newest_ms
