"""`headwater edge overhauled`: that an asset is as new, put into the log where its next life begins."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from edge_agent.saying import say
from edge_agent.settings import EdgeSettings
from headwater.contract import headers, topics
from headwater.contract.checkpoint import AssetState, decode
from headwater.contract.names import check_name
from headwater.contract.overhaul import Overhaul
from headwater.contract.partitioning import partition_of
from headwater.transport.kafka_batch import Cluster, read_compacted


class Said(NamedTuple):
    """What was written. `asset_class`: of the asset's last window, "" where no model has judged it yet."""

    asset: str
    failed: bool
    at: int
    partition: int
    asset_class: str


def overhauled(settings: EdgeSettings, asset: str, by: str, *, failed: bool) -> Said:
    """Write it; BadInput for what is not the name of an asset, or too long. Raises as the transport does."""
    check_name(asset, "asset")
    partition, asset_class = asyncio.run(_look(settings, asset))
    said = Overhaul(asset, int(time.time() * 1000), failed, by)
    say(settings, asset, partition, said, (headers.OVERHAULED, asset))
    return Said(asset, failed, said.at, partition, asset_class)


async def _look(settings: EdgeSettings, asset: str) -> tuple[int, str]:
    """Partition of the asset, and its class as far as the scorer knows it."""
    async with Cluster(settings.kafka, client_id="headwater-overhauled") as cluster:
        partition = partition_of(asset.encode(), await cluster.partitions(topics.READINGS))
        state = (await read_compacted(cluster, topics.STATE, partition)).get(asset.encode())
    return partition, decode(state.value or b"", AssetState).asset_class if state else ""
