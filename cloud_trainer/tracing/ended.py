"""The word that ended an episode, an operator's or an overhaul: in the alarm record, and in `readings`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from cloud_trainer.tracing import places
from cloud_trainer.tracing.places import Place
from headwater.contract import headers, topics
from headwater.contract.acknowledgement import Acknowledgement, acknowledgement
from headwater.contract.errors import BadInput
from headwater.contract.overhaul import Overhaul, overhaul
from headwater.transport.kafka_batch import Cluster, Record


class Ended(NamedTuple):
    """By what; `source`: its offset in `readings` of the edge; `at`: where it stands here, None where it is gone."""

    said: Acknowledgement | Overhaul
    source: int
    at: Place | None

    def told(self) -> dict[str, Any]:
        """As JSON-able values."""
        kind: dict[str, Any]
        if isinstance(self.said, Overhaul):
            kind = {"by_overhaul": True, "failed": self.said.failed}
        else:
            kind = {"episode": self.said.episode, "is_false": self.said.is_false}
        return {
            **kind,
            "by": self.said.by,
            "said_at": self.said.at,
            "source_offset": self.source,
            "at": None if self.at is None else str(self.at),
        }


async def ended_by(cluster: Cluster, names: Collection[str], alarm_at: Place, record: Record) -> Ended | None:
    """The word that ended the episode of this alarm record; None where no word did.

    BadInput for a record whose word cannot be read.
    """
    word = headers.find(record.headers, headers.WORD)
    source = headers.find_number(record.headers, headers.SOURCE_OFFSET)
    if word is None or source is None:
        return None
    said = acknowledgement(word, record.headers) or overhaul(word, record.headers)
    if said is None:
        wanted = f"{headers.ACKNOWLEDGES} or {headers.OVERHAULED}"
        raise BadInput(f"the alarm at {alarm_at} has a word without the header {wanted}")
    return Ended(said, source, await _where(cluster, names, alarm_at, source, said))


async def _where(
    cluster: Cluster, names: Collection[str], alarm_at: Place, source: int, said: Acknowledgement | Overhaul
) -> Place | None:
    site, dot, _ = alarm_at.topic.removesuffix(f".{topics.BACKLOG}").rpartition(".")
    for topic in (readings := f"{site}{dot}{topics.READINGS}", f"{readings}.{topics.BACKLOG}"):
        if topic not in names:
            continue
        async for start, end in places.steps(cluster, topic, alarm_at.partition, source):
            async for record in places.records(cluster, topic, alarm_at.partition, start, end):
                if record.value == said.encode() and (dot or record.offset == source):
                    return Place(topic, alarm_at.partition, record.offset)
    return None
