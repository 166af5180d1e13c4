"""Whose turn it is on a link that carries less than wants to leave."""

from __future__ import annotations

import asyncio
from collections import Counter

from replicator.links.governor import Gate, Governor
from replicator.links.settings import LaneSettings, LinkSettings


async def _send(gate: Gate, name: str, size: int, told: list[str]) -> None:
    while True:
        await gate.turn(size)
        gate.posted(size)
        gate.answered(well=True)
        told.append(name)


async def _shares(governor: Governor, seconds: float) -> Counter[str]:
    """Who has sent how often when all want all the time."""
    told: list[str] = []
    names = ["alarms", "scores", "bulk"]
    tasks = [asyncio.create_task(_send(Gate(governor, lane), name, 1000, told)) for lane, name in enumerate(names)]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Counter(told)


async def test_earlier_lanes_go_first_and_nobody_starves() -> None:
    """Alarms have nine tenths at most, scores most of the rest, and bulk still something."""
    found = await _shares(Governor(LinkSettings().weights, most_rate=400_000), 4.0)
    assert found["alarms"] > 5 * found["scores"] > 5 * found["bulk"] > 0


async def test_weights_share_a_link() -> None:
    """Behind the first lane, a weight of 3 is three times as much as bulk has."""
    lanes = (LaneSettings(name="alarms", topics=("a",)), LaneSettings(name="scores", topics=("b",), weight=3))
    governor = Governor(LinkSettings(lanes=lanes).weights, most_rate=400_000)
    told: list[str] = []
    tasks = [
        asyncio.create_task(_send(Gate(governor, lane), name, 1000, told))
        for lane, name in ((1, "scores"), (2, "bulk"))
    ]
    await asyncio.sleep(1.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    found = Counter(told)
    assert 2.5 < found["scores"] / found["bulk"] < 3.5
    assert 300 < len(told) < 500  # the rate is kept


async def test_an_alarm_does_not_wait_for_the_bulk_before_it() -> None:
    """A batch that fills the link for ten seconds is under way; an alarm goes at once, another batch does not."""
    governor = Governor(LinkSettings().weights, most_rate=10_000)
    bulk, alarm = Gate(governor, 2), Gate(governor, 0)
    await bulk.turn(100_000)
    bulk.posted(100_000)
    assert alarm.takes(300)
    assert not bulk.takes(1000)


async def test_nothing_is_paced_on_a_short_road() -> None:
    """With a round trip of a millisecond everything leaves as it comes."""
    governor = Governor(LinkSettings().weights)
    governor.tripped(0.001)
    gate = Gate(governor, 2)
    for _ in range(1000):
        assert gate.takes(1 << 20)
        gate.posted(1 << 20)


async def test_a_shut_lane_waits_until_it_is_opened() -> None:
    """What is not allowed now goes once it is."""
    governor = Governor([1.0, 1.0])
    governor.shut = frozenset({1})
    waiting = asyncio.create_task(Gate(governor, 1).turn(10))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    governor.shut = frozenset()
    governor.changed()
    await asyncio.wait_for(waiting, 1)


def test_topics_find_their_lanes() -> None:
    """Alarms first, scores next, what is not named last."""
    settings = LinkSettings()
    assert [settings.lane_of(topic) for topic in ("alarms", "scores", "readings", "other")] == [0, 1, 2, 2]


async def test_what_is_not_written_as_spent_waits() -> None:
    """In every lane, on a fast road too; how much waits is said, and it goes once that is written."""
    governor = Governor(LinkSettings().weights)
    governor.credit = 1000
    alarms, bulk = Gate(governor, 0), Gate(governor, 2)
    assert bulk.takes(800)
    bulk.posted(800)
    assert not alarms.takes(300)
    assert not bulk.takes(5000)
    waiting = [asyncio.create_task(alarms.turn(300)), asyncio.create_task(bulk.turn(5000))]
    await asyncio.sleep(0)
    assert governor.short.is_set()
    assert governor.wanted == 5000
    governor.credit = 600
    governor.changed()
    await waiting[0]
    assert not waiting[1].done()
    alarms.posted(300)
    governor.credit = 5000
    governor.changed()
    await waiting[1]
    bulk.posted(5000)
    assert governor.credit == 0
