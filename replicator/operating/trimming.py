"""Deleting at the source what is proven at the target: `headwater replicate trim`.

Nobody else's position is known here: whoever reads the topic at the site must be done with it too, which is what
`keep` is for.
"""

from __future__ import annotations

import msgspec

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.deletion import delete_records
from replicator.engine import now_ms
from replicator.mm2.refresh import chosen
from replicator.proof.heads import safe_offset, without_proof
from replicator.proof.unproven import nothing_yet
from replicator.settings import ReplicatorSettings
from replicator.status import Kept, open_ends, stored


class Trim(msgspec.Struct, frozen=True):
    """One partition of the source: its records from `first` up to `before` may go, `end` is the log's end.

    `proven`: source offset behind what is shipped, acknowledged and proven (None: nothing is). `why`: nothing may go.
    """

    topic: str
    partition: int
    first: int
    before: int
    end: int
    proven: int | None
    deleted: bool = False
    why: str = ""

    @property
    def records(self) -> int:
        """How many, at most."""
        return max(self.before - self.first, 0)


async def trim(settings: ReplicatorSettings, topic: str | None, keep_s: float, *, really: bool) -> list[Trim]:
    """What may be deleted, and with `really` delete it; records younger than `keep_s` stay.

    Unreachable: a cluster does not answer, nothing is deleted then. BadInput: the link does not ship that topic.
    """
    async with open_ends(settings) as (source, target):
        kept = await stored(target, settings.site)
        shipped = await chosen(source, settings)
        if topic is not None and topic not in shipped:
            raise BadInput(f"the link of {settings.site} does not ship {topic}", hint=f"it ships {', '.join(shipped)}")
        found = []
        for each in [topic] if topic is not None else shipped:
            found += await _of_topic(source, settings, kept, each, keep_s)
        if really:
            found = [await _deleted(source, each) for each in found]
    return found


async def _of_topic(source: Cluster, settings: ReplicatorSettings, kept: Kept, topic: str, keep_s: float) -> list[Trim]:
    firsts, ends = await source.offsets(topic, "earliest"), await source.offsets(topic, "latest")
    young = await source.offset_at(topic, max(now_ms() - int(keep_s * 1000), 0))
    by_record, found = without_proof(kept), []
    for partition, end in ends.items():
        proven, first = safe_offset(kept, topic, partition), firsts[partition]
        kept_from = young[partition]
        before = min(proven or 0, end if kept_from is None else kept_from, end)
        if first == end:
            why = "the log is empty"
        elif (topic, partition) in by_record:
            why = "it goes record by record, of which there is no proof"
        elif not proven:
            why = nothing_yet(settings)
        else:
            why = "all that is proven was deleted before" if proven <= first else f"younger than {keep_s / 3600:g} h"
        found.append(Trim(topic, partition, first, max(before, first), end, proven, why="" if before > first else why))
    return found


async def _deleted(source: Cluster, found: Trim) -> Trim:
    if not found.records:
        return found
    await delete_records(source, found.topic, found.partition, found.before)
    return msgspec.structs.replace(found, deleted=True)
