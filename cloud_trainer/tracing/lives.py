"""The life behind a score of remaining life: all of its cycles are read again, since each of them is in the score."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from cloud_trainer.tracing import places
from headwater.contract import topics
from headwater.contract.arrival import Arrival
from headwater.contract.cycles import Cycles
from headwater.contract.errors import DataMissing
from headwater.contract.features import Window
from headwater.contract.memory import MemorySpec
from headwater.contract.messages import Score
from headwater.transport.kafka_batch import Cluster

_BACKLOG = f".{topics.BACKLOG}"


class Lived(NamedTuple):
    """A life that was lived again, None where cycles of it are gone; offsets of those that were found."""

    window: Window | None
    offsets: list[int]


async def live_again(
    cluster: Cluster, names: Collection[str], memory: MemorySpec, told: Score, topic: str, partition: int, last: Arrival
) -> Lived:
    """The life that `last` ended when it was scored: as many cycles before it as the score says.

    Where `topic` holds fewer, those that a link shipped beside it are put among them by sensor time.
    """
    count = told.cycles if isinstance(told.cycles, int) else 0
    came = await _cycles(cluster, topic, partition, last.offset + 1, last, memory, count)
    beside = f"{topic.removesuffix(_BACKLOG)}{_BACKLOG}"
    for other in (topic.removesuffix(_BACKLOG), beside):
        if len(came) < count and other != topic and other in names:
            _, end = await places.bounds(cluster, other, partition)
            found = await _cycles(cluster, other, partition, end, last, memory, count)
            both = came + [one for one in found if told.t_first <= one.reading.t < told.t_last]
            came = sorted(both, key=lambda one: one.reading.t)[-count:]
    offsets = [one.offset for one in came]
    if len(came) < count or not count or came[0].reading.t != told.t_first:
        return Lived(None, offsets)
    life, window = Cycles(memory), None
    for one in came:
        window = life.push(one.offset, one.reading)
    return Lived(window, offsets)


def gone(told: Score, kept: int, there: str, offsets: str) -> DataMissing:
    """Why a life cannot be lived again of which so many cycles were found; `there` and `offsets` say where."""
    count = told.cycles if isinstance(told.cycles, int) else 0
    if kept < count:
        return DataMissing(
            f"of the {count:,} cycles of the life {kept:,} are in {there} ({offsets}): the score cannot be computed "
            "again without all",
            hint="retention took them: lives need as long a retention as they last, at the edge or in the cloud",
        )
    why = "the edge missed some of those that are there" if told.life_since == -1 else "some stand there twice"
    return DataMissing(
        f"the last {count:,} cycles of the asset in {there}, are not the {count:,} of the life ({offsets}): {why}, and "
        "nobody knows which, so the score cannot be computed again",
        hint="headwater edge status counts what was missed",
    )


async def _cycles(
    cluster: Cluster, topic: str, partition: int, end: int, last: Arrival, memory: MemorySpec, count: int
) -> list[Arrival]:
    """The last `count` cycles of the asset before `end`; fewer where the log begins."""

    def is_cycle(one: Arrival) -> bool:
        values = one.reading.values
        of_asset = (one.asset, one.asset_class) == (last.asset, last.asset_class)
        return of_asset and all(values.get(name) is not None for name in memory.settings)

    return await places.last(cluster, topic, partition, end, is_cycle, count)
