"""`headwater replicate verify --target-only` and `--source-only`: each side against the manifest."""

from __future__ import annotations

from typing import Literal

from msgspec import structs

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Cluster
from headwater.transport.kafka_batch.alterations import all_topics
from replicator import losses
from replicator.ends import reached
from replicator.fresh.aside import DEFERRED
from replicator.fresh.parts import gaps_in
from replicator.proof.checking import SOURCE, TARGET, Checked, check_source, check_target
from replicator.proof.eras import since_when
from replicator.proof.heads import heads_in, without_proof
from replicator.proof.manifest import Entries, read_manifest
from replicator.proof.unproven import nothing_yet, target_gone, unproven_at_source
from replicator.settings import ReplicatorSettings
from replicator.status import Kept, stored

Side = Literal["target", "source"]
_NO_PROOF = (
    "not checked: it goes record by record, since it is compacted or has rules, and there is no manifest of that; "
    "`headwater replicate verify` compares it"
)


async def check_side(settings: ReplicatorSettings, side: Side) -> list[Checked]:
    """Check all partitions that have a proof, and name those that have none.

    The target is asked for the proof; `source` needs the source too.
    Unreachable: a cluster that is needed does not answer. BadInput: there is no proof.
    """
    async with reached(settings, "target", f"headwater-verify-{settings.site}") as target:
        kept, entries = await stored(target, settings.site), await read_manifest(target, settings.site)
        heads = heads_in(kept)
        rest = [Checked(*pair, side, 0, 0, remark=_NO_PROOF) for pair in without_proof(kept)]
        if not heads and rest:
            return rest
        if not heads:
            raise BadInput(
                f"nothing is proven of {settings.site} at {settings.target.brokers}",
                hint="the manifest is written by `headwater replicate run` with proof.enabled, which is the default",
            )
        if side == TARGET:
            found = await _at_target(target, settings, kept, entries)
        else:
            found = await _at_source(target, settings, kept, entries)
        return [_told(each, settings, kept) for each in found] + rest


def _told(found: Checked, settings: ReplicatorSettings, kept: Kept) -> Checked:
    """With the gaps that the link has named, and why there is no entry."""
    gaps = [each for each in gaps_in(kept, found.topic, found.partition) if each.cause != DEFERRED]
    bare = not found.entries and found.unproven and not found.remark
    return structs.replace(found, gaps=gaps, remark=nothing_yet(settings) if bare else found.remark)


async def _at_target(target: Cluster, settings: ReplicatorSettings, kept: Kept, entries: Entries) -> list[Checked]:
    pairs = sorted(heads_in(kept))
    there = await all_topics(target, sorted({settings.way(*pair).target for pair in pairs}))
    found = []
    for pair in pairs:
        way, mine = settings.way(*pair), entries.get(pair, [])
        if way.partition < there.get(way.target, 0):
            found.append(await check_target(target, way, mine, gaps_in(kept, *pair)))
        else:
            found.append(target_gone(way, mine))
    return found


async def _at_source(target: Cluster, settings: ReplicatorSettings, kept: Kept, entries: Entries) -> list[Checked]:
    replaced: dict[tuple[str, int], list[int]] = {}
    for notice in await losses.said(target, settings.site):
        if notice.replaced:
            replaced.setdefault((notice.topic, notice.partition), []).append(notice.first)
    async with reached(settings, "source", f"headwater-verify-{settings.site}") as source:
        heads, found = heads_in(kept), []
        there = await all_topics(source, sorted({settings.way(*pair).topic for pair in heads}))
        for pair, head in sorted(heads.items()):
            way, gaps, mine = settings.way(*pair), gaps_in(kept, *pair), entries.get(pair, [])
            if way.partition >= there.get(way.topic, 0):
                found.append(Checked(*pair, SOURCE, len(mine), 0, remark="not checked: the source has no such log"))
                continue
            since = head.era if way.aside else since_when(gaps)
            each = await check_source(source, way, mine, since, gaps, replaced.get(pair, []))
            unproven = await unproven_at_source(source, kept, way, mine, since)
            found.append(structs.replace(each, unproven=unproven))
        return found
