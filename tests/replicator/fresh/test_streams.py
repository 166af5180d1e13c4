"""New records go first, their backlog beside them: each record once, in one of two streams, each in order."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import signal
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any

import pytest

from headwater.contract.errors import BadInput, Transient
from headwater.contract.topics import gaps, positions, remote
from headwater.transport.kafka_batch import encode, read_compacted, restamp
from headwater.transport.retry import retrying
from replicator.fresh.aside import DEFERRED, Aside, aside_key
from replicator.fresh.notices import Deferral
from replicator.operating.trimming import trim
from replicator.position import RECREATED, RETENTION, decode
from replicator.proof.sides import check_side
from replicator.settings import ReplicatorSettings
from replicator.status import link_status
from replicator.verify import verify_link
from tests.replicator.bed import Bed, numbered, numbers, put, replicator, until

SLOW = 40_000  # bytes a second
SIZE = 400


def settings(bed: Bed, rate: int | None = SLOW, hours: tuple[str, ...] = (), **more: Any) -> ReplicatorSettings:
    """A link whose topics ship what is new first; `numbered` records are an hour old."""
    link = {"fresh_first": {"topics": ["*"], "after_s": 1.0}, "rate_bytes_s": rate, "hours": hours}
    return bed.settings(link=link, **more)


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


def process(bed: Bed, link: ReplicatorSettings) -> AbstractAsyncContextManager[asyncio.subprocess.Process]:
    """The real command."""
    more = {"FRESH_FIRST__TOPICS": '["*"]', "FRESH_FIRST__AFTER_S": "1"}
    if link.link.rate_bytes_s is not None:
        more["RATE_BYTES_S"] = str(link.link.rate_bytes_s)
    return replicator(bed, link, **{f"LINK__{name}": value for name, value in more.items()})


async def begun(bed: Bed) -> str:
    """A topic of 500 records of which the newest are shipped, and some of those before."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 500)
    async with bed.link(settings(bed, drain_s=0.1)):
        await until(lambda: _has(live(bed, topic), 499), "the newest arrives")
        await until(lambda: _some(backlog(bed, topic)), "the backlog has begun")
    return topic


async def notices(bed: Bed) -> list[Deferral]:
    """What was said of gaps, and of ranges that were set aside."""
    kept = await read_compacted(bed.target, gaps(bed.site).name, 0)
    return [decode(record.value, Deferral, "notice") for _, record in sorted(kept.items())]


async def deferrals(bed: Bed) -> list[Deferral]:
    """What was said of ranges that were set aside."""
    return [each for each in await notices(bed) if each.cause == DEFERRED]


async def test_new_records_arrive_before_a_backlog_that_is_shipped_beside_them(bed: Bed) -> None:
    """After an outage what is new is there at once, the backlog follows in order in a topic of its own, all once."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 50)
    await bed.ship()  # before the outage
    await fill(bed, topic, 50, 750)  # 300 KB, 8 s of the link
    async with bed.link(settings(bed, drain_s=0.1)) as link:
        await until(lambda: _has(live(bed, topic), 799), "the newest record of the outage arrives first")
        await fill(bed, topic, 800, 10)
        await until(lambda: _has(live(bed, topic), 809), "new records arrive")
        assert len(await backlog(bed, topic)) < 600, "the backlog still waits"
        assert not link.done()
    found = await link_status(settings(bed))
    here, beside = found.topics
    assert (beside.target, beside.state) == (f"{remote(bed.site, topic)}.backlog", "behind")
    assert beside.partitions[0].lag_records > 100
    assert beside.partitions[0].lag_s > 1000
    assert (here.state, here.gaps, found.exit_code) == ("up to date", [], 0)
    (waits,) = await trim(settings(bed), topic, 0.0, really=False)
    assert 50 <= (waits.proven or 50) < 790, "what waits is not deleted at the source"
    assert [each.agrees for each in await verify_link(settings(bed))] == [True, True]
    (said,) = await deferrals(bed)
    assert (said.cause, said.first, said.last, said.filled) == ("deferred", 50, 789, False)
    assert said.shipped_to == f"{remote(bed.site, topic)}.backlog"
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(both(bed, topic), 810), "all is shipped")
        await until(lambda: _filled(bed), "it is said that the range is filled")
    await assert_once(bed, topic, 810)
    assert await live(bed, topic) == [*range(50), *range(790, 810)]
    (done,) = await trim(settings(bed), topic, 0.0, really=False)
    assert done.proven == 810
    whole, part = await verify_link(settings(bed))
    assert (whole.compared, whole.waiting, part.compared, part.waiting) == (70, 0, 740, 0)
    assert whole.agrees
    assert part.agrees
    for side in ("target", "source"):
        assert [each.agrees for each in await check_side(settings(bed), side)] == [True, True]
    assert [each.state for each in (await link_status(settings(bed))).topics] == ["up to date", "up to date"]


async def test_what_a_dead_life_had_under_way_is_not_shipped_beside_too(bed: Bed) -> None:
    """A batch from before the leap that lands after it was stored, and before it is used, is in one stream alone."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 50)
    await bed.ship()
    await fill(bed, topic, 50, 450)
    async with bed.link(settings(bed, drain_s=0.1, hours=(shut(),))):
        await until(lambda: _era(bed, topic, 1), "the leap is stored")
    assert len(await live(bed, topic)) == 50
    late = (await bed.batches(bed.source, topic, 0))[5:8]
    for number, batch in enumerate(late):
        sent = restamp(batch, producer_id=await bed.producer(), epoch=0, sequence=50 + 10 * number)
        assert (await bed.target.produce([(remote(bed.site, topic), 0, sent)]))[0].error == 0
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(both(bed, topic), 500), "all is shipped")
        await until(lambda: _filled(bed), "the range is filled")
    await assert_once(bed, topic, 500)
    assert await live(bed, topic) == [*range(80), *range(490, 500)]
    assert [(each.first, each.last) for each in await deferrals(bed)] == [(80, 489)]
    assert [each.agrees for each in await verify_link(settings(bed))] == [True, True]


@pytest.mark.parametrize(("gone", "source_gone"), [(70, 0), (80, 0), (70, 65)])
async def test_what_landed_late_is_known_where_the_target_has_deleted_it(bed: Bed, gone: int, source_gone: int) -> None:
    """The target's retention took some or all of what a dead life had under way: it is not shipped beside too."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 50)
    await bed.ship()
    await commit(bed, topic, 50, 10)  # its marker takes offset 60
    await fill(bed, topic, 60, 440)
    async with bed.link(settings(bed, drain_s=0.1, hours=(shut(),))):
        await until(lambda: _era(bed, topic, 1), "the leap is stored")
    target = remote(bed.site, topic)
    for number, batch in enumerate((await bed.batches(bed.source, topic, 0))[5:8]):
        sent = restamp(batch, producer_id=await bed.producer(), epoch=0, sequence=50 + 10 * number)
        assert (await bed.target.produce([(target, 0, sent)]))[0].error == 0
    await bed.trim(bed.target, target, 0, gone)
    if source_gone:
        await bed.trim(bed.source, topic, 0, source_gone)
    async with bed.link(settings(bed, None)):
        await until(lambda: _has(backlog(bed, topic), 489), "all is shipped")
        await until(lambda: _filled(bed), "the range is filled")
    assert await backlog(bed, topic) == list(range(80, 490))
    assert await live(bed, topic) == [*range(gone, 80), *range(490, 500)]
    assert [gap for gap in await bed.gaps() if gap.cause != DEFERRED] == []


async def commit(bed: Bed, topic: str, first: int, count: int) -> None:
    """Write numbered records in a transaction."""
    producer = bed.transactional(f"txn-{bed.site}")
    producer.begin_transaction()
    put(producer, topic, [numbered(n, 0) for n in range(first, first + count)])
    producer.commit_transaction(10)


def shut() -> str:
    """Hours in which the link may send, none of them now."""
    now = dt.datetime.now(dt.UTC)
    return f"{now + dt.timedelta(hours=2):%H:%M}-{now + dt.timedelta(hours=3):%H:%M}"


async def test_records_that_were_deleted_before_their_turn_are_a_gap_of_the_backlog(bed: Bed) -> None:
    """Retention that eats what was set aside is named as for any other record; the rest follows."""
    topic = await begun(bed)
    await bed.trim(bed.source, topic, 0, 400)
    async with bed.link(settings(bed, None)):
        await until(lambda: _has(backlog(bed, topic), 489), "the rest is shipped")
        await until(lambda: _filled(bed), "the range is ended")
    beside = await backlog(bed, topic)
    first = next(n for n, number in enumerate(beside) if n != number)
    assert beside == [*range(first), *range(400, 490)]
    (gap,) = [each for each in await bed.gaps() if each.cause == RETENTION]
    assert (gap.topic, gap.first, gap.end) == (f"{topic}~backlog", first, 400)
    status = await link_status(settings(bed))
    assert [[each.cause for each in found.gaps] for found in status.topics] == [[], [RETENTION]]


async def test_a_backlog_of_a_topic_that_was_made_again_is_a_gap(bed: Bed) -> None:
    """What was set aside of a topic that is gone is named; the new one's records are all shipped, once."""
    topic = await begun(bed)
    beside = len(await backlog(bed, topic))
    await bed.delete(bed.source, topic)
    await bed.topic(partitions=1)
    await fill(bed, topic, 1000, 700)
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(live(bed, topic), [*range(490, 500), *range(1000, 1700)]), "the new ones are shipped")
        await until(lambda: _settled(bed, topic), "nothing is set aside any more")
    assert len(await backlog(bed, topic)) == beside
    assert [(gap.cause, gap.first, gap.end) for gap in await bed.gaps() if gap.topic == topic][-1][0] == RECREATED
    (said,) = [each for each in await notices(bed) if each.topic == f"{topic}~backlog"]
    assert (said.cause, said.first <= beside, said.last) == (RECREATED, True, 489)


async def test_nothing_is_set_aside_that_is_shipped_soon(bed: Bed) -> None:
    """On a link that carries it in a moment, a backlog is shipped in order, however old it is."""
    topic = await bed.topic(partitions=1)
    await fill(bed, topic, 0, 300)
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(both(bed, topic), 300), "all is shipped")
    assert await live(bed, topic) == list(range(300))


@pytest.mark.slow
async def test_both_streams_are_exact_over_kills(bed: Bed) -> None:
    """Killed again and again, with ranges set aside behind ranges, a link loses, doubles and reorders nothing."""
    topic = await bed.topic(partitions=2)
    dice = random.Random(20_261_122)
    written = 0
    for _ in range(4):
        for partition in range(2):
            await fill(bed, topic, written, 250, partition)
        written += 250
        async with process(bed, settings(bed, position_interval_s=0.3)) as running:
            await until(partial(_moved, bed, topic, await _ends(bed, topic)), "this life ships")
            await asyncio.sleep(dice.uniform(0, 0.8))
            running.send_signal(signal.SIGKILL)
            await running.wait()
    async with process(bed, settings(bed, None)) as running:
        await until(lambda: _ended(bed, topic, 2 * written), "all is shipped")
        await until(lambda: _filled(bed), "all ranges are filled")
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 20) == 0
    for partition in range(2):
        await assert_once(bed, topic, written, partition)
    assert len(await deferrals(bed)) >= 2
    assert not [gap for gap in await bed.gaps() if gap.cause != DEFERRED]


async def test_a_link_that_falls_behind_ships_what_is_new_first(bed: Bed) -> None:
    """Without any outage: records that come faster than the link carries them are set aside while it runs."""
    topic = await bed.topic(partitions=1)
    async with bed.link(settings(bed)):
        await fill(bed, topic, 0, 20)
        await until(lambda: _has(live(bed, topic), 19), "the link ships")
        await fill(bed, topic, 20, 980)  # ten seconds of the link
        await until(lambda: _has(live(bed, topic), 999), "the newest arrives", 7.0)
    async with bed.link(settings(bed, None)):
        await until(lambda: _is(both(bed, topic), 1000), "all is shipped")
    await assert_once(bed, topic, 1000)
    assert len(await deferrals(bed)) == 1


async def _has(found: Any, number: int) -> bool:
    return number in await found


async def _some(found: Any) -> bool:
    return bool(await found)


async def _era(bed: Bed, topic: str, era: int) -> bool:
    return (await bed.position(topic)).era == era


async def _settled(bed: Bed, topic: str) -> bool:
    kept = await read_compacted(bed.target, positions(bed.site).name, 0)
    return not decode(kept[aside_key(topic, 0)].value, Aside, "aside").ranges


async def _is(found: Any, wanted: object) -> bool:
    return bool(await found == wanted)


async def _ends(bed: Bed, topic: str) -> int:
    """How many records are in both topics, by their ends."""
    found = 0
    for name in (remote(bed.site, topic), f"{remote(bed.site, topic)}.backlog"):
        with suppress(BadInput, Transient):  # not there yet
            found += sum((await bed.target.offsets(name, "latest")).values())
    return found


async def _moved(bed: Bed, topic: str, before: int) -> bool:
    return await _ends(bed, topic) > before


async def _ended(bed: Bed, topic: str, count: int) -> bool:
    return await _ends(bed, topic) == count


async def _filled(bed: Bed) -> bool:
    return all(each.filled for each in await retrying("reading", lambda: deferrals(bed), deadline_s=5))
