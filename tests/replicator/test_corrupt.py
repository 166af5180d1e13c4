"""A flipped bit on a disk of the source, in the file that its broker serves from: named, and never laundered."""

from __future__ import annotations

import asyncio

import pytest

from headwater.app.stack.runner import Runner
from headwater.contract.errors import Untrusted
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Fetched, encode
from replicator.batch_engine import BatchEngine
from replicator.position import CORRUPT
from replicator.running import run_link
from tests.replicator.bed import PATIENCE_S, Bed, numbered, until
from tests.replicator.silence import flip, notices, places, segments, standing

EDGE = "shared"  # the broker of the fixture `kafka`
LENGTH, MAGIC, ATTRIBUTES, LAST_DELTA, COUNT, RECORDS = 8, 16, 22, 26, 60, 75
CONTROL, FEWER, MORE, NEGATIVE = 0x20, 1, 0x10, 0x80


def spoil(runner: Runner, topic: str, batch: int, at: int, bit: int, partition: int = 0) -> None:
    """Flip a bit of the n-th batch of a log."""
    (segment,) = segments(runner, EDGE, topic, partition)
    flip(runner, EDGE, topic, places(segment.read_bytes())[batch] + at, bit, partition)


@pytest.mark.parametrize(
    ("at", "bit"),
    [
        (RECORDS, 1),
        (ATTRIBUTES, CONTROL),  # it looks like a marker, which is not shipped
        (ATTRIBUTES, 2),  # another codec
        (LAST_DELTA, FEWER),
        (LAST_DELTA, MORE),
        (LAST_DELTA - 3, NEGATIVE),
        (COUNT, MORE),
        (COUNT - 3, NEGATIVE),
    ],
)
async def test_a_corrupt_batch_is_a_gap_with_its_offsets(bed: Bed, service_runner: Runner, at: int, bit: int) -> None:
    """Whatever the bit says, all of the batch and nothing else is missing, and everybody can read why."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 50)
    spoil(service_runner, topic, 2, at, bit, partition=1)
    async with bed.link(bed.settings()):
        await until(lambda: bed.ends_at(topic, 1, 40), "what is around it is shipped")
        await until(lambda: bed.ends_at(topic, 0, 50), "the other partition is shipped")
        await bed.fill(topic, 5)
        await until(lambda: bed.ends_at(topic, 1, 45), "new records follow")
    assert await bed.arrived(topic, 1) == [*range(20), *range(30, 55)]
    assert [(g.partition, g.cause, g.first, g.end, g.resumed_at, g.era) for g in await bed.gaps()] == [
        (1, CORRUPT, 20, 30, 30, 1)
    ]
    said = [(n.topic, n.partition, n.cause, n.first, n.last, n.halted, n.replaced) for n in await notices(bed)]
    assert said == [(topic, 1, "corrupt", 20, 29, False, False)]
    await bed.fill(topic, 5)
    await bed.ship_and_die_at(topic, 1, 50)
    async with bed.link(bed.settings()):
        await until(lambda: bed.ends_at(topic, 1, 50), "the next life finds its place")
    assert await bed.arrived(topic, 1) == [*range(20), *range(30, 60)]


async def test_a_corrupt_batch_at_the_end_of_a_log_is_left_behind_alone(bed: Bed, service_runner: Runner) -> None:
    """Where no batch follows, the gap ends with the log, and what comes later is shipped."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    spoil(service_runner, topic, 1, RECORDS, 4)
    async with bed.link(bed.settings()):
        await until(lambda: _gaps(bed, 1), "the gap is recorded")
        await bed.fill(topic, 5)
        await until(lambda: bed.ends_at(topic, 0, 15), "what comes later is shipped")
    assert await bed.arrived(topic) == [*range(10), *range(20, 25)]
    assert [(g.first, g.end) for g in await bed.gaps()] == [(10, 20)]


async def _gaps(bed: Bed, count: int) -> bool:
    return len(await bed.gaps()) == count


async def test_a_link_that_halts_stands_still_in_front_of_it(bed: Bed, service_runner: Runner) -> None:
    """With on_gap = halt others go on, the partition says so at the target, and the link's end has exit code 7."""
    topic, other = await bed.topic(partitions=1), await bed.topic("other", partitions=1)
    await bed.fill(topic, 30)
    await bed.fill(other, 10)
    spoil(service_runner, topic, 1, RECORDS, 1)
    settings = bed.settings(on_gap="halt")
    async with bed.link(settings) as task:
        await until(lambda: _halted(bed, topic), "it says that it halts")
        await bed.fill(other, 10)
        await until(lambda: bed.ends_at(other, 0, 20), "the other topic goes on")
        assert not task.done()
    assert await bed.arrived(topic) == list(range(10))
    found = await standing(bed, topic)
    assert found is not None
    assert f"{topic}[0]: offsets 10 to 19 do not match their checksum" in found.halted
    assert found.exit_code == Untrusted.exit_code
    assert [(n.cause, n.first, n.last, n.halted) for n in await notices(bed)] == [("corrupt", 10, 19, True)]
    assert not await bed.gaps()
    alone = bed.settings(topic, on_gap="halt")
    with pytest.raises(Untrusted, match="offsets 10 to 19 do not match their checksum"):
        await asyncio.wait_for(run_link(alone, asyncio.Event()), PATIENCE_S)


async def _halted(bed: Bed, topic: str) -> bool:
    found = await standing(bed, topic)
    return found is not None and bool(found.halted)


async def test_a_batch_that_is_built_anew_is_checked_first(bed: Bed, service_runner: Runner) -> None:
    """One that is too large for the target is not cut into good-looking pieces."""
    topic = await bed.topic(partitions=1)
    await bed.make(bed.target, remote(bed.site, topic), 1, max_message_bytes="1500")
    for first in (0, 20, 40):
        await bed.write(topic, 0, encode([numbered(n, 200) for n in range(first, first + 20)]))
    spoil(service_runner, topic, 1, RECORDS + 100, 1)
    async with bed.link(bed.settings()):
        await until(lambda: bed.ends_at(topic, 0, 40), "what is around it is shipped")
    assert await bed.arrived(topic) == [*range(20), *range(40, 60)]
    assert [(g.cause, g.first, g.end) for g in await bed.gaps()] == [(CORRUPT, 20, 40)]


async def test_compacted_topics_leave_a_corrupt_batch_behind_too(bed: Bed, service_runner: Runner) -> None:
    """Record by record, nothing is laundered either."""
    topic = await bed.topic("status", partitions=1, cleanup_policy="compact")
    await bed.fill(topic, 30)
    spoil(service_runner, topic, 1, RECORDS, 1)
    async with bed.link(bed.settings()):
        await until(lambda: bed.last_is(topic, 29), "what is behind it is shipped")
    assert await bed.arrived(topic) == [*range(10), *range(20, 30)]
    assert [(g.cause, g.first, g.end) for g in await bed.gaps()] == [(CORRUPT, 10, 20)]


class SpoilingOnce(BatchEngine):
    """Flips one bit of what comes first, as bad memory or a bad road would."""

    _done = False

    async def ship(self, fetched: Fetched) -> None:
        data = bytearray(fetched.data)
        if not self._done:
            data[-1] ^= 1
            self._done = True
        await super().ship(fetched._replace(data=memoryview(data)))


async def test_what_is_right_at_the_second_reading_is_no_gap(bed: Bed) -> None:
    """A bit that flipped on the way costs one more fetch."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    task = asyncio.create_task(run_link(bed.settings(), asyncio.Event(), SpoilingOnce))
    await bed.shipped(task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bed.assert_same(topic)
    assert not await bed.gaps()


@pytest.mark.parametrize(("at", "bit"), [(LENGTH, 0x80), (LENGTH + 3, 0x08), (MAGIC, 0x40)])
async def test_a_log_that_cannot_be_read_on_halts_its_partition(
    bed: Bed, service_runner: Runner, at: int, bit: int
) -> None:
    """A wrong length or format, which no checksum covers: what is before it is shipped, and the link says so."""
    topic, other = await bed.topic(partitions=1), await bed.topic("other", partitions=1)
    await bed.fill(topic, 30)
    spoil(service_runner, topic, 1, at, bit)
    await bed.fill(other, 10)
    async with bed.link(bed.settings()) as task:
        await until(lambda: bed.ends_at(other, 0, 10), "the other topic is shipped")
        await until(lambda: _halted(bed, topic), "the partition halts")
        assert not task.done()
    found = await standing(bed, topic)
    assert found is not None
    assert (found.exit_code, f"{topic}[0]: from offset 10 on, the source's log cannot be read" in found.halted) == (
        7,
        True,
    )
    assert await bed.arrived(topic) == list(range(10))
