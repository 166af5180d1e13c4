"""A publisher may make up MQTT topics of 64 KB, each another one: they pass, and are not kept."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.bridge.bridge import Bridge
from edge_agent.bridge.counts import Counts
from edge_agent.bridge.recogniser import Recogniser
from edge_agent.bridge.route_settings import RouteSettings
from edge_agent.bridge.settings import BridgeSettings, SpoolSettings
from edge_agent.bridge.spooled_drain import Drainer
from edge_agent.bridge.spooled_intake import Intake
from edge_agent.bridge.spooled_tails import Done
from edge_agent.bridge.tally import Tally
from headwater.contract import topics
from headwater.contract.errors import HeadwaterError
from headwater.transport.kafka_batch.section import Section
from headwater.transport.mqtt.packets import DUP, QOS_1, Publish
from headwater.transport.mqtt.source import Batch
from headwater.transport.spool import Spool

COUNT = 300
MOST_BYTES = 8 << 20  # of the 18 MB that all topics have
SETTINGS = BridgeSettings(
    routes=tuple(RouteSettings(match=f"{{site}}/{kind}/{{asset}}/#", asset_class=kind) for kind in ("pump", "fan"))
)
PARTITIONS = {topics.READINGS: 1, topics.DEAD_LETTERS: 1}


def message(number: int, *, dup: bool = False) -> Publish:
    topic = b"lyon/pump/p1/%d/" % number + b"x" * 60_000
    return QOS_1 | (DUP if dup else 0), topic, (number + 1).to_bytes(2, "big"), b"1", ()


class Source:
    """Gives what is put in; takes acknowledgements and forgets them."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[Batch] = asyncio.Queue(1)

    def acknowledge(self, count: int, epoch: int) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def relay(self, take: Callable[[Batch], None]) -> None: ...
    async def read(self) -> Batch:
        return await self.batches.get()


class Kafka:
    """Has everything at once, and keeps nothing."""

    def push(self, topic: str, partition: int, section: Section, done: Callable[[int | HeadwaterError], None]) -> None:
        del topic, partition, section
        done(0)


@pytest.fixture
def kept() -> Iterator[Callable[[], int]]:
    """How many bytes are held that were not at the beginning."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()


async def test_a_bridge_keeps_none(kept: Callable[[], int]) -> None:
    """Neither to find their way, nor to count them, nor to recognise what is sent again, which it does all the same."""
    recogniser = Recogniser("me", 1, 1000)
    made = Bridge(Source(), Kafka(), recogniser, SETTINGS, site="lyon", partitions=PARTITIONS, receive_maximum=1000)
    made.take(Batch(1, True, []))
    for number in range(COUNT):
        made.take(Batch(1, True, [message(number)]))
    assert kept() < MOST_BYTES
    made.take(Batch(2, True, []))
    made.take(Batch(2, True, [message(number, dup=True) for number in range(5)]))

    assert (made.counts.written, made.counts.recognised) == (COUNT, 5)
    assert made.records.tally.counts()["lyon/pump/{asset}/#"].received == COUNT + 5


async def test_a_spool_keeps_them_on_the_disk_only(kept: Callable[[], int], tmp_path: Path) -> None:
    """What takes messages in remembers them by hashes, and what sends them on does not remember their way."""
    spool, counts = Spool.open(tmp_path, most_bytes=64 << 20), Counts()
    drainer = Drainer(spool, counts, SETTINGS, "lyon")
    drainer.begin(Kafka(), PARTITIONS, Done())
    recogniser, source = Recogniser("me", 1, 1000), Source()
    intake = Intake(source, spool, recogniser, drainer, counts, SpoolSettings(), 1000)
    running = [asyncio.create_task(intake.run()), asyncio.create_task(drainer.run())]
    async with asyncio.timeout(20):
        for number in range(COUNT):
            await source.batches.put(Batch(1, True, [message(number)]))
        while counts.written < COUNT:  # noqa: ASYNC110 - turns of the loop are what it takes
            await asyncio.sleep(0)
    assert kept() < MOST_BYTES
    _, topic, packet_id, payload, _ = message(0)
    assert recogniser.young[packet_id][0] == hash((topic, payload))
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    await spool.close()


def test_counts_hold_some_megabytes_of_topics_at_most(kept: Callable[[], int]) -> None:
    """Of several routes; the numbers are right all the same."""
    tally = Tally(["one", "two"], lambda topic: "one" if topic.startswith(b"lyon/pump") else "two")
    most = 0
    for number in range(COUNT):
        tally.took([message(number)], 1)
        most = max(most, kept())
    assert most < MOST_BYTES
    assert tally.counts()["one"].received == COUNT
