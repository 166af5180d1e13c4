"""What was refused for a missing permission is tried again: it may be given while the link runs.

The first pause is short and each one after it is twice as long, for asking costs bytes on a dear link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence

from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch import codes
from replicator.flow import Flow
from replicator.opening import Topics

FIRST_PAUSE_S = 2.0
MOST_PAUSE_S = 60.0
_LOOK_S = 0.5


class Granting:
    """Of one link, with all its flows. `again` has a halted flow run once more."""

    def __init__(self, topics: Topics, flows: Callable[[], Sequence[Flow]], again: Callable[[Flow], None]) -> None:
        self._topics, self._flows, self._again = topics, flows, again
        self._pauses: dict[Hashable, float] = {}
        self._due: dict[Hashable, float] = {}

    async def run(self) -> None:
        """Look for what was refused, and try it when it is due; until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            refused = {topic for topic, error in self._topics.refused.items() if is_denied(error)}
            halted = {each.engine.way: each for each in self._flows() if is_denied(each.halted) and not each.running}
            for topic in refused:
                if self._is_due(topic):
                    await self._topics.attempt(topic)
            for way, flow in halted.items():
                if self._is_due(way):
                    self._again(flow)
            shipping = {each.engine.way for each in self._flows() if each.halted is None}
            for key in [key for key in self._pauses if key in self._topics.flows or key in shipping]:
                del self._pauses[key], self._due[key]

    def _is_due(self, key: Hashable) -> bool:
        now = time.monotonic()
        if key not in self._due:
            self._pauses[key] = FIRST_PAUSE_S
            self._due[key] = now + FIRST_PAUSE_S
        if now < self._due[key]:
            return False
        self._pauses[key] = min(2 * self._pauses[key], MOST_PAUSE_S)
        self._due[key] = now + self._pauses[key]
        return True


def is_denied(error: HeadwaterError | None) -> bool:
    """Whether an access control list says so, which somebody may change."""
    return error is not None and codes.code_of(error) in codes.DENIED
