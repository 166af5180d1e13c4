"""Records on their way to Kafka: how long a batch waits for company."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from edge_agent.bridge.outlet import HOLD_S, Outlet
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section


class Writer:
    """Counts the records of each batch and never answers."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        self.batches.append(section.count)


def put(outlet: Outlet, partition: int, place: int) -> None:
    lane = outlet.lane("readings", partition)
    lane.section.add(b"\1", b"x" * 100, b"\0", 1)
    lane.places.append(place)


async def gone_after_s(writer: Writer, count: int, feed: Callable[[], None]) -> float:
    """Seconds until `count` batches are pushed; `feed` is called every few milliseconds."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async with asyncio.timeout(5):
        while len(writer.batches) < count:
            feed()
            await asyncio.sleep(0.002)
    return clock() - began


async def test_batches_are_held_for_a_moment_only() -> None:
    """What is held goes when that ends, when nobody comes back for it, or after HOLD_S of always more to come."""
    writer = Writer()
    outlet = Outlet(writer, lambda *_: None, lambda: None)
    outlet.hold(1 << 20)
    put(outlet, 0, 0)
    outlet.flush()
    assert writer.batches == []
    forgotten_s = await gone_after_s(writer, 1, lambda: None)

    outlet.hold(1 << 20)
    put(outlet, 2, 3)
    outlet.flush()
    fed_s = await gone_after_s(writer, 2, lambda: outlet.hold(1 << 20))
    assert forgotten_s < fed_s
    assert fed_s > HOLD_S / 2
    outlet.hold(0)
    writer.batches.pop()

    outlet.hold(1 << 20)
    put(outlet, 1, 1)
    put(outlet, 1, 2)
    outlet.flush()
    assert writer.batches == [1]
    outlet.hold(0)
    outlet.flush()
    assert writer.batches == [1, 2]
