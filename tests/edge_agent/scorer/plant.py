"""Six pumps that publish into the readings of an edge."""

from __future__ import annotations

import asyncio
import math
import random

from edge_agent.scorer.models import Loaded, load
from headwater.contract.manifest import Manifest
from headwater.transport.kafka_batch import Out
from tests.edge_agent.scorer.edge import PARTITIONS, Edge, out, raw
from tests.edge_agent.scorer.models import CHANNELS, id_of

ASSETS = tuple(f"pump-{n}" for n in range(6))


class Plant:
    """Publishes readings of six pumps, each to its partition; from time to time one swings out."""

    def __init__(self, edge: Edge, seed: int) -> None:
        self._edge = edge
        self._random = random.Random(seed)
        self.seconds = 0

    async def publish(self, seconds: int, pace_s: float = 0.0) -> None:
        """One reading a second and pump; some lack a value, some are no readings. A second takes `pace_s` and more."""
        for _ in range(seconds):
            await asyncio.sleep(pace_s)
            self.seconds += 1
            parts: dict[int, list[Out]] = {p: [] for p in range(PARTITIONS)}
            for number, asset in enumerate(ASSETS):
                parts[number % PARTITIONS].append(self._one(number, asset))
            await asyncio.gather(*(self._edge.put(p, outs) for p, outs in parts.items()))

    def _one(self, number: int, asset: str) -> Out:
        if self._random.random() < 0.01:
            return raw(asset.encode(), b"{poison", "pump")
        swing = 4.0 if (self.seconds + 13 * number) % 97 < 30 else 0.3
        values: dict[str, float | None] = {
            name: swing * math.sin(self.seconds * (1 + i) + number) + self._random.gauss(0, 0.2)
            for i, name in enumerate(CHANNELS)
        }
        if self._random.random() < 0.02:
            values[CHANNELS[0]] = None
        return out(asset, 1_700_000_000_000 + 1000 * self.seconds, values)


def loaded(edge: Edge, *manifests: Manifest) -> dict[int, Loaded]:
    return {m.version: load(edge.state, id_of(m)) for m in manifests}
