"""Which readings say something about a clock, and how many are looked into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from edge_agent.bridge.clockwatch import MOST_SAMPLES, SAMPLES_A_S, ClockWatch
from headwater.contract import topics
from headwater.contract.clocks import decode_clock
from headwater.transport.kafka_batch.records import Out

NOW = 1_763_718_300_000


async def test_the_cost_is_bounded_by_time_and_not_by_messages() -> None:
    """However many messages come, a second has at most its share of samples, spread over what came."""
    watch, messages = ClockWatch(), list(range(100_000))

    first = watch.due(messages)
    assert MOST_SAMPLES - 1 <= len(first) <= MOST_SAMPLES
    assert first[-1] - first[0] > 90_000
    loop = asyncio.get_running_loop()
    began, taken = loop.time(), 0
    while loop.time() - began < 0.2:
        taken += len(watch.due(messages[:10]))
        await asyncio.sleep(0)
    assert taken <= (loop.time() - began) * SAMPLES_A_S + 1
    assert watch.due([]) == ()


async def test_what_may_have_waited_does_not_make_a_clock_late() -> None:
    """Sent again, retained, or from a queue: only a reading from the future says something then."""
    watch, write = ClockWatch(), Log()
    watch.observe("again", NOW - 3_600_000, NOW, waited=True)
    watch.is_behind = lambda: True
    watch.observe("queued", NOW - 3_600_000, NOW)
    watch.observe("hasty", NOW + 7_200_000, NOW)
    watch.is_behind = lambda: False
    watch.observe("right", NOW - 5, NOW)

    await told(watch, write)

    assert write.skews == {"hasty": -7_200_000, "right": 5}
    assert (watch.view.known, watch.view.off, watch.view.furthest) == (2, 1, {"hasty": -7_200_000})


async def test_the_view_goes_on_while_kafka_is_away() -> None:
    """A write that waits for Kafka holds up neither what is shown nor the end."""
    watch, write = ClockWatch(), Log()
    write.away.clear()
    watch.observe("p1", NOW, NOW)

    stop = asyncio.Event()
    telling = asyncio.create_task(watch.tell(write, stop, every_s=0.01))
    await until(lambda: watch.view.known == 1)
    watch.observe("p2", NOW, NOW)
    await until(lambda: watch.view.known == 2)
    stop.set()
    await asyncio.wait_for(telling, 5)
    assert write.skews == {}


class Log:
    """What was written to `clocks`; it waits while it is away."""

    def __init__(self) -> None:
        self.skews: dict[str, int] = {}
        self.away = asyncio.Event()
        self.away.set()

    async def __call__(self, topic: str, partition: int, outs: Sequence[Out]) -> None:
        assert (topic, partition) == (topics.CLOCKS, 0)
        await self.away.wait()
        for out in outs:
            found = decode_clock(out.value or b"")
            assert out.key == found.asset.encode()
            self.skews[found.asset] = found.skew_ms


async def told(watch: ClockWatch, write: Log) -> None:
    stop = asyncio.Event()
    telling = asyncio.create_task(watch.tell(write, stop, every_s=0.01))
    await until(lambda: write.skews)
    stop.set()
    await telling


async def until(condition: Callable[[], object]) -> None:
    end = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)
