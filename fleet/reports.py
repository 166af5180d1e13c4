"""What the sites report: the newest status of each, from the compacted topics in the cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from headwater.contract import messages, topics
from headwater.contract.errors import BadInput
from headwater.contract.messages import Status
from headwater.transport.kafka_batch import Cluster, KafkaSettings, read_compacted
from headwater.transport.retry import retrying


class Reports(Protocol):
    """Where statuses come from."""

    def read(self, sites: Sequence[str]) -> dict[str, Status]:
        """The newest status of each site that has ever reported."""
        ...


class KafkaReports:
    """Reports in a cloud cluster. A site whose topic does not exist, or whose status is not readable, is silent."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def read(self, sites: Sequence[str]) -> dict[str, Status]:
        """See Reports. Unreachable after a minute without an answer."""
        return asyncio.run(self._read(sites))

    async def _read(self, sites: Sequence[str]) -> dict[str, Status]:
        cluster = Cluster(self._settings, client_id="headwater-fleet")
        await retrying(f"reaching Kafka at {self._settings.brokers}", cluster.connect, deadline_s=60)
        found = {}
        try:
            for site in sites:
                try:
                    records = await read_compacted(cluster, topics.remote(site, topics.STATUS), 0)
                    newest = records.get(site.encode())
                    if newest is not None:
                        found[site] = messages.decode(newest.value, Status)
                except BadInput:
                    continue
        finally:
            await cluster.close()
        return found
