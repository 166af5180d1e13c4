"""The engine of a partition that another instance ships."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headwater.transport.kafka_batch import Fetched
from replicator.position import Position
from replicator.way import Way


class Elsewhere:
    """Stands where an engine would; see `Engine`. `name` is what the one that ships it is called."""

    position: Position | None = None
    unacknowledged_bytes = 0

    def __init__(self, way: Way, name: str) -> None:
        self.way = way
        self.name = name

    def checkpoint(self) -> Position | None:
        """Nothing is known here."""
        return None

    async def anchor(self) -> int:
        """Never."""
        await asyncio.Event().wait()
        return 0

    async def ship(self, fetched: Fetched) -> None:
        """Nothing is shipped."""

    async def settle(self) -> None:
        """Nothing is under way."""

    def watch(self, tell: Callable[[], None]) -> None:
        """Nothing can fail."""
