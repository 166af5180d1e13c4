"""New records go first, their backlog beside them: each record once, in one of two streams, each in order."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from headwater.contract.errors import BadInput, Transient
from headwater.contract.topics import gaps, remote
from headwater.transport.kafka_batch import encode, read_compacted
from headwater.transport.retry import retrying
from replicator.fresh.notices import Deferral
from replicator.position import decode
from replicator.settings import ReplicatorSettings
from tests.replicator.bed import Bed, numbered, numbers, until

SLOW = 40_000  # bytes a second
SIZE = 400


def settings(bed: Bed, rate: int | None = SLOW, **more: Any) -> ReplicatorSettings:
    """A link whose topics ship what is new first; `numbered` records are an hour old."""
    return bed.settings(link={"fresh_first": {"topics": ["*"], "after_s": 1.0}, "rate_bytes_s": rate}, **more)


async def fill(bed: Bed, topic: str, first: int, count: int, partition: int = 0) -> None:
    """Write numbered records that do not compress."""
    dice = random.Random(first)
    for at in range(first, first + count, 10):
        outs = [numbered(n, 0) for n in range(at, min(at + 10, first + count))]
        outs = [out._replace(value=(out.value or b"") + dice.randbytes(SIZE)) for out in outs]
        await bed.write(topic, partition, encode(outs))


async def backlog(bed: Bed, topic: str, partition: int = 0) -> list[int]:
    """Numbers of the records in the backlog's topic."""
    name = f"{remote(bed.site, topic)}.backlog"
    try:
        return numbers(await bed.data(bed.target, name, partition))
    except (BadInput, Transient):  # not there yet
        return []


async def live(bed: Bed, topic: str, partition: int = 0) -> list[int]:
    """Numbers of the records in the topic itself."""
    try:
        return await bed.arrived(topic, partition)
    except (BadInput, Transient):
        return []


async def both(bed: Bed, topic: str, partition: int = 0) -> int:
    """How many records are in both."""
    return len(await live(bed, topic, partition)) + len(await backlog(bed, topic, partition))


async def assert_once(bed: Bed, topic: str, count: int, partition: int = 0) -> None:
    """All records are there, each once, in order in each stream."""
    here, beside = await live(bed, topic, partition), await backlog(bed, topic, partition)
    assert here == sorted(here)
    assert beside == sorted(beside)
    assert sorted(here + beside) == list(range(count))


@asynccontextmanager
async def process(bed: Bed, link: ReplicatorSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real command."""
    command, env = bed.command(link)
    prefix = "HEADWATER_REPLICATOR__LINK__"
    env |= {f"{prefix}FRESH_FIRST__TOPICS": '["*"]', f"{prefix}FRESH_FIRST__AFTER_S": "1"}
    if link.link.rate_bytes_s is not None:
        env[f"{prefix}RATE_BYTES_S"] = str(link.link.rate_bytes_s)
    with bed.log.open("ab") as log:
        found = await asyncio.create_subprocess_exec(*command, env=env, stderr=log, stdin=asyncio.subprocess.DEVNULL)
    try:
        yield found
    finally:
        with suppress(ProcessLookupError):
            found.kill()
        await found.wait()


async def deferrals(bed: Bed) -> list[Deferral]:
    """What was said of ranges that were set aside."""
    kept = await read_compacted(bed.target, gaps(bed.site).name, 0)
    return [decode(record.value, Deferral, "deferral") for _, record in sorted(kept.items())]


async def test_new_records_arrive_before_a_backlog_that_is_shipped_beside_them(bed: Bed) -> None:
    """After an outage what is new is there at once, the backlog follows in order in a topic of its own, all once."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 50)
    await bed.ship()  # before the outage
    await fill(bed, topic, 50, 750)  # 300 KB, 8 s of the link
    async with bed.link(settings(bed)) as link:
        await until(lambda: _has(live(bed, topic), 799), "the newest record of the outage arrives first")
        await fill(bed, topic, 800, 10)
        await until(lambda: _has(live(bed, topic), 809), "new records arrive")
        assert len(await backlog(bed, topic)) < 600, "the backlog still waits"
        assert not link.done()
    (said,) = await deferrals(bed)
    assert (said.cause, said.first, said.last, said.filled) == ("deferred", 50, 789, False)
    assert said.shipped_to == f"{remote(bed.site, topic)}.backlog"
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(both(bed, topic), 810), "all is shipped")
        await until(lambda: _filled(bed), "it is said that the range is filled")
    await assert_once(bed, topic, 810)
    assert await live(bed, topic) == [*range(50), *range(790, 810)]


async def test_nothing_is_set_aside_that_is_shipped_soon(bed: Bed) -> None:
    """On a link that carries it in a moment, a backlog is shipped in order, however old it is."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 300)
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(both(bed, topic), 300), "all is shipped")
    assert await live(bed, topic) == list(range(300))


async def test_both_streams_are_exact_over_kills(bed: Bed) -> None:
    """Killed again and again, with ranges set aside behind ranges, a link loses, doubles and reorders nothing."""
    topic = await bed.topic(partitions=2)
    dice = random.Random(20_261_122)
    written = 0
    for _ in range(6):
        for partition in range(2):
            await fill(bed, topic, written, 300, partition)
        written += 300
        async with process(bed, settings(bed, position_interval_s=0.3)) as running:
            before = sum([await both(bed, topic, p) for p in range(2)])
            await until(lambda n=before: _more(bed, topic, n), "this life ships")
            await asyncio.sleep(dice.uniform(0, 0.8))
            running.send_signal(signal.SIGKILL)
            await running.wait()
    async with process(bed, settings(bed, None)) as running:
        for partition in range(2):
            await until(lambda p=partition: _is(both(bed, topic, p), written), "all is shipped")
        await until(lambda: _filled(bed), "all ranges are filled")
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 20) == 0
    for partition in range(2):
        await assert_once(bed, topic, written, partition)
    assert len(await deferrals(bed)) > 2
    assert not [gap for gap in await bed.gaps() if gap.cause != "deferred"]


async def _has(found: Any, number: int) -> bool:
    return number in await found


async def _is(found: Any, count: int) -> bool:
    return bool(await found == count)


async def _more(bed: Bed, topic: str, before: int) -> bool:
    return sum([await both(bed, topic, p) for p in range(2)]) > before


async def _filled(bed: Bed) -> bool:
    return all(each.filled for each in await retrying("reading", lambda: deferrals(bed), deadline_s=5))
