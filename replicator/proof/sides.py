"""`headwater replicate verify --target-only` and `--source-only`: each side against the manifest."""

from __future__ import annotations

from typing import Literal

from headwater.contract.errors import BadInput
from replicator import losses
from replicator.ends import reached
from replicator.fresh.parts import gaps_in
from replicator.proof.checking import TARGET, Checked, check_source, check_target
from replicator.proof.eras import since_when
from replicator.proof.heads import heads_in, without_proof
from replicator.proof.manifest import read_manifest
from replicator.settings import ReplicatorSettings
from replicator.status import stored

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
            return [
                await check_target(target, settings.way(*pair), entries.get(pair, []), gaps_in(kept, *pair))
                for pair in sorted(heads)
            ] + rest
        replaced: dict[tuple[str, int], list[int]] = {}
        for notice in await losses.said(target, settings.site):
            if notice.replaced:
                replaced.setdefault((notice.topic, notice.partition), []).append(notice.first)
        async with reached(settings, "source", f"headwater-verify-{settings.site}") as source:
            found = []
            for pair, head in sorted(heads.items()):
                way, gaps = settings.way(*pair), gaps_in(kept, *pair)
                since = head.era if way.aside else since_when(gaps)
                found.append(
                    await check_source(source, way, entries.get(pair, []), since, gaps, replaced.get(pair, []))
                )
            return found + rest
