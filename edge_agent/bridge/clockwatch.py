"""The clocks of the assets, watched from a sample of their readings and told in the topic `clocks`.

A read is looked into for at most SAMPLES_A_S messages of each second that has passed, spread over it; readings that a
decoder has taken apart anyway are all looked at. Readings that may have waited for us (sent again, retained, from a
queue that the broker works off) would make a clock look late, so of these only those that are ahead of us count:
nothing but a wrong clock makes a reading arrive before it was measured.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from headwater.contract import topics
from headwater.contract.clocks import Clocks
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.records import Out
from headwater.transport.lifecycle import sleep_or_stop

SAMPLES_A_S = 100
MOST_SAMPLES = 64  # of one read
TELL_S = 5.0
_SHOWN = 5

T = TypeVar("T")
Write = Callable[[str, int, Sequence[Out]], Awaitable[object]]


class ClockView(msgspec.Struct, frozen=True):
    """All estimates in few numbers: ms to add to a clock, so that one which is ahead has a negative number."""

    known: int = 0  # assets with an estimate
    off: int = 0  # of them, by more than is tolerated
    most_ahead_ms: int = 0
    most_behind_ms: int = 0
    unseen: int = 0  # readings of assets beyond those that are estimated
    furthest: dict[str, int] = {}  # of those that are off: asset and ms to add


class ClockWatch:
    """Estimates of one life. `is_behind` says whether the broker is working off a queue."""

    def __init__(self, tolerance_ms: int = 5000) -> None:
        self.is_behind: Callable[[], bool] = lambda: False
        self.view = ClockView()
        self._clocks = Clocks()
        self._tolerance_ms = tolerance_ms
        self._looked_at = 0.0

    def due(self, messages: Sequence[T]) -> Sequence[T]:
        """Those of a read that are to be looked into now; call it once a read."""
        now = time.monotonic()
        count = min(int((now - self._looked_at) * SAMPLES_A_S), len(messages), MOST_SAMPLES)
        if count <= 0:
            return ()
        self._looked_at = now
        step = -(-len(messages) // count)  # at most `count` of them
        return messages[random.randrange(step) :: step]

    def observe(self, asset: str, sensor_ms: int, received_ms: int, *, waited: bool = False) -> None:
        """Take note of one reading, which may have `waited` somewhere on its way."""
        if sensor_ms <= received_ms and (waited or self.is_behind()):
            return
        self._clocks.observe(asset, sensor_ms, received_ms)

    async def tell(self, write: Write, stop: asyncio.Event, every_s: float = TELL_S) -> None:
        """Keep `view` up to date and write what is new to `clocks`, until `stop`. A failure shows at the next write."""
        writing: asyncio.Task[None] | None = None
        try:
            while not await sleep_or_stop(stop, every_s):
                self.view = self._seen()
                if writing is None or writing.done():  # Kafka may be away
                    writing = asyncio.create_task(self._write_news(write))
        finally:
            if writing is not None:
                writing.cancel()
                await asyncio.wait([writing])

    async def _write_news(self, write: Write) -> None:
        now_ms = time.time_ns() // 1_000_000
        outs = [Out(each.asset.encode(), each.encode(), (), now_ms) for each in self._clocks.news(now_ms)]
        if outs:
            with suppress(HeadwaterError):  # such as Fenced: the readings meet it too
                await write(topics.CLOCKS, 0, outs)

    def _seen(self) -> ClockView:
        skews = {asset: skew.skew_ms for asset, skew in self._clocks.skews().items()}
        off = sorted((asset for asset in skews if abs(skews[asset]) > self._tolerance_ms), key=lambda a: -abs(skews[a]))
        return ClockView(
            known=len(skews),
            off=len(off),
            most_ahead_ms=max(0, -min(skews.values(), default=0)),
            most_behind_ms=max(0, max(skews.values(), default=0)),
            unseen=self._clocks.unseen,
            furthest={asset: skews[asset] for asset in off[:_SHOWN]},
        )
