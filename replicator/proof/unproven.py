"""What no proof says anything of: records behind the last entry, and logs that are gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.transport.kafka_batch import Cluster, Record
from replicator import logs
from replicator.fresh.parts import gaps_in, parts, within, without
from replicator.logs import Start
from replicator.position import DOUBLED
from replicator.proof.checking import Checked, Named
from replicator.proof.entry import Entry
from replicator.proof.finding import DROPPED
from replicator.settings import ReplicatorSettings
from replicator.way import Way

_END = 1 << 62


def nothing_yet(settings: ReplicatorSettings) -> str:
    """Why there is no entry."""
    interval = f"proof.interval_s ({settings.proof.interval_s:g} s)"
    return f"nothing is proven yet; entries are written every {interval} and at a stop"


async def unproven_at_source(
    source: Cluster, kept: Mapping[bytes, Record], way: Way, entries: Sequence[Entry], since: int
) -> int:
    """Records of the source behind the last entry of its log, whether they are shipped or not.

    `since`: the first era of that log. What gaps name is not among them. Transient: the source does not answer.
    """
    first, end, _ = await logs.decided(source, way.topic, way.partition)
    gaps = [each for each in gaps_in(kept, way.topic, way.partition) if each.era > since and each.cause != DOUBLED]
    both = parts(kept, way.topic, way.partition)
    spans = without([(0, _END)], [(each.first, each.end) for each in gaps]) if both is None else both[way.aside]
    begins = max([first, *(each.source[1] for each in entries if each.era >= since)])
    return sum(
        [
            (await logs.count_on(source, way, Start(start, 0), _END, stop)).count
            for start, stop in within(spans, begins, end)
        ]
    )


def target_gone(way: Way, entries: Sequence[Entry]) -> Checked:
    """A partition of the target that does not exist: all that its entries prove is dropped."""
    found, proven = [], sum(each.records for each in entries)
    if entries:
        span = entries[0].target[0], entries[-1].target[1]
        says = f"{way}: there is no {way.target}[{way.partition}] at the target any more"
        found = [Named(DROPPED, proven, span, (0, 0), says)]
    return Checked(way.ledger, way.partition, "target", len(entries), 0, findings=found)
