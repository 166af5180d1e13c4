"""Where to go on: the topic `state`, and the ends of what the former life wrote.

It runs after the writer has fenced that life, so that nothing of it can still arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from edge_agent.scorer.partition import Memory, Partition
from edge_agent.scorer.rewind import read_again
from headwater.contract import headers, topics
from headwater.contract.checkpoint import CHECKPOINT_KEY, AssetState, Checkpoint, decode
from headwater.contract.overhaul import Came
from headwater.contract.windows import Charge
from headwater.transport.kafka_batch.cluster import Cluster
from headwater.transport.kafka_batch.reading import checked_records, read_compacted, walk
from headwater.transport.kafka_batch.records import Record
from headwater.transport.kafka_batch.writer import Writer

_log = structlog.get_logger(__name__)


@dataclass
class Remembered:
    """The content of one partition of `state`; no checkpoint before the first life made one."""

    checkpoint: Checkpoint | None = None
    assets: dict[str, AssetState] = field(default_factory=dict)

    def refills(self) -> list[Charge]:
        """Swaps after which no reading was judged yet: their windows are filled anew from the log."""
        if self.checkpoint is None:
            return []
        return [c for c in self.checkpoint.charges.values() if c.since == self.checkpoint.upto > c.rewound_from]


async def recover(cluster: Cluster, writer: Writer, number: int) -> Partition:
    """Partition `number` as the former life left it."""
    remembered = remember(await read_compacted(cluster, topics.STATE, number))
    again: dict[str, list[Came]] = {}
    for charge in remembered.refills():
        again[charge.asset_class] = await read_again(cluster, number, charge.rewound_from, charge.since)
    partition = restore(number, remembered, again)
    if remembered.checkpoint is None:
        partition.position = (await cluster.offsets(topics.READINGS, "earliest"))[number]
    for topic in (topics.SCORES, topics.ALARMS):
        partition.tails[topic] = last_source(writer.tails.get((topic, number), []))
    partition.tails[topics.DEAD_LETTERS] = await _last_dead_letter(cluster, partition)
    _log.info("recovered", partition=number, position=partition.position, settled=partition.settled())
    return partition


def remember(newest: Mapping[bytes, Record]) -> Remembered:
    """Decode the newest record of each key; BadInput if one is not what this agent writes."""
    found = Remembered()
    for key, record in newest.items():
        name = key.decode()
        if name == CHECKPOINT_KEY:
            found.checkpoint = decode(record.value or b"", Checkpoint)
        elif not name.startswith("."):
            found.assets[name] = decode(record.value or b"", AssetState)
    return found


def restore(number: int, remembered: Remembered, again: Mapping[str, list[Came]]) -> Partition:
    """A partition as `remembered`; `again` has by class the readings of each swap that has to be filled anew."""
    partition = Partition(number)
    if remembered.checkpoint is None:
        return partition
    upto = remembered.checkpoint.upto
    partition.position = partition.checkpointed = upto
    partition.charges = dict(remembered.checkpoint.charges)
    partition.counts = dict(remembered.checkpoint.counts)
    partition.dead_letters_from = remembered.checkpoint.dead_letters_from
    refilled: set[str] = set()
    for charge in partition.charges.values():
        if charge.asset_class in again:
            refilled.update(partition.windows.swap(charge.asset_class, charge.cadence, again[charge.asset_class]))
        else:
            partition.windows.set_cadence(charge.asset_class, charge.cadence)
    for asset, offset in remembered.checkpoint.renewed.items():
        if asset not in remembered.assets:
            partition.windows.renew(asset, offset)
    for asset, state in remembered.assets.items():
        _restore_asset(partition, asset, state, stale=state.asset_class in again and state.upto <= upto)
    adopt(partition, refilled)
    return partition


def _restore_asset(partition: Partition, asset: str, state: AssetState, *, stale: bool) -> None:
    partition.memories[asset] = Memory(
        state.alarm_class,
        state.alarm,
        state.windows,
        state.not_finite,
        followed_by=state.followed_by,
        saved=state.episodes,
        void_since=state.void_since,
        void_t=state.void_t,
        left=state.left,
        unheeded=state.unheeded,
    )
    if state.upto > partition.position:
        partition.ahead[asset] = state.upto
    cadence = partition.windows.cadence(state.asset_class)
    if state.renewed >= 0:
        partition.windows.renew(asset, state.renewed)
    if cadence is None or state.window is None:
        return
    if not stale and state.cadence == cadence.digest():
        partition.windows.restore(asset, state.asset_class, state.window)
    else:  # of the version before a swap: a life may go on, of a sliding window nothing can
        partition.windows.go_on(asset, state.asset_class, state.window)


def adopt(partition: Partition, refilled: Iterable[str]) -> None:
    """Take assets whose windows were filled anew into the memory, to be written with the next checkpoint."""
    for asset in refilled:
        partition.memory(asset)
        partition.dirty.add(asset)


def last_source(records: Iterable[Record]) -> int:
    """The highest source offset that these records name, -1 if none does."""
    named = (headers.find_number(record.headers, headers.SOURCE_OFFSET) for record in records)
    return max((offset for offset in named if offset is not None), default=-1)


async def _last_dead_letter(cluster: Cluster, partition: Partition) -> int:
    """As `last_source`, among the dead letters that may be the scorer's: the bridge writes there too."""
    first = (await cluster.offsets(topics.DEAD_LETTERS, "earliest"))[partition.number]
    end = (await cluster.offsets(topics.DEAD_LETTERS, "latest"))[partition.number]
    start = min(max(first, partition.dead_letters_from), end)
    last = -1
    async for batch, is_data in walk(cluster, topics.DEAD_LETTERS, partition.number, start, end):
        if is_data:
            records = checked_records(topics.DEAD_LETTERS, partition.number, batch)
            last = max(last, last_source(r for r in records if _is_of_readings(r)))
    return last


def _is_of_readings(record: Record) -> bool:
    return headers.find(record.headers, headers.SOURCE_TOPIC) == headers.text(topics.READINGS)
