"""`headwater replicate verify --target-only` and `--source-only`: each side against the manifest."""

from __future__ import annotations

from typing import Literal

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Cluster
from replicator import losses
from replicator.proof.checking import TARGET, Checked, check_source, check_target
from replicator.proof.heads import heads_in
from replicator.proof.manifest import read_manifest
from replicator.settings import ReplicatorSettings
from replicator.status import stored

Side = Literal["target", "source"]


async def check_side(settings: ReplicatorSettings, side: Side) -> list[Checked]:
    """Check all partitions that have a proof. The target is asked for it; `source` needs the source too.

    Unreachable: a cluster that is needed does not answer. BadInput: there is no proof.
    """
    async with Cluster(settings.target, client_id=f"headwater-verify-{settings.site}") as target:
        kept, entries = await stored(target, settings.site), await read_manifest(target, settings.site)
        heads = heads_in(kept)
        if not heads:
            raise BadInput(
                f"nothing is proven of {settings.site} at {settings.target.brokers}",
                hint="the manifest is written by `headwater replicate run` with proof.enabled, which is the default",
            )
        if side == TARGET:
            return [await check_target(target, settings.way(*pair), entries.get(pair, [])) for pair in sorted(heads)]
        replaced: dict[tuple[str, int], list[int]] = {}
        for notice in await losses.said(target, settings.site):
            if notice.replaced:
                replaced.setdefault((notice.topic, notice.partition), []).append(notice.first)
        async with Cluster(settings.source, client_id=f"headwater-verify-{settings.site}") as source:
            return [
                await check_source(source, settings.way(*pair), entries.get(pair, []), head.era, replaced.get(pair, []))
                for pair, head in sorted(heads.items())
            ]
