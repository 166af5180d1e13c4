"""Rules over real clusters: exactly once although records are left out, over kills, changes of rules, and gaps."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from headwater.contract import headers
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Out, Record, encode
from replicator.position import RECREATED, RETENTION
from replicator.records.choosing import chain_of
from replicator.running import run_link
from replicator.settings import ReplicatorSettings
from tests.replicator.bed import Bed, now_ms, numbers, replicator, until
from tests.replicator.silence import standing

DROP_MOST = {"drop": {"key": "k[1-6]"}}  # of the keys k0 to k6 that `numbered` gives
EVEN = {"keep": {"header": "even"}}


def rules(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Rules for all topics of a test."""
    return {"records": [{"topics": ["*"], **each} for each in found], **more}


def reading(number: int, at: int = 0) -> Out:
    """A numbered record of one of three keys, with a JSON value; some have a header."""
    value = json.dumps({"n": number, "who": f"p{number % 5}"}).encode()
    return Out(b"k%d" % (number % 3), value, (("even", b"1"),) if number % 2 == 0 else (), at or now_ms())


async def write(bed: Bed, topic: str, outs: list[Out], batch: int = 7, partition: int = 0) -> None:
    """Write records in batches of that many."""
    for first in range(0, len(outs), batch):
        await bed.write(topic, partition, encode(outs[first : first + batch], codec="lz4"))


async def there(bed: Bed, topic: str, partition: int = 0) -> list[Record]:
    """What the target has."""
    with suppress(Exception):  # not there yet
        return await bed.data(bed.target, remote(bed.site, topic), partition)
    return []


def offsets(found: list[Record]) -> list[int | None]:
    """The source offsets that they carry."""
    return [headers.find_number(each.headers, headers.SOURCE_OFFSET) for each in found]


async def looked_at(bed: Bed, topic: str, end: int, partition: int = 0) -> None:
    """Wait until the stored position is behind an offset."""

    async def stored() -> bool:
        with suppress(KeyError, Exception):
            return (await bed.position(topic, partition)).source_next >= end
        return False

    await until(stored, f"the position of {topic}[{partition}] is {end}")


async def test_what_rules_leave_out_is_left_out_and_the_rest_arrives_changed(bed: Bed) -> None:
    """Two partitions, filters and a change; order, times and the other headers stay, and status tells the counts."""
    topic = await bed.topic(partitions=2)
    made = [reading(n) for n in range(60)]
    for partition in range(2):
        await write(bed, topic, made, partition=partition)
    tombstone = Out(b"k1", None, (), now_ms())
    await write(bed, topic, [tombstone, Out(b"k0", b"no JSON", (("even", b"1"),), now_ms())], batch=1)
    link = bed.settings(
        topic,
        **rules(
            {"name": "even", "keep": {"header": "even", "field": "n", "at_least": 10}},
            {"name": "who", "mask": ["who"], "mask_with": "somebody", "remove_headers": ["even"]},
        ),
    )
    async with bed.link(link):
        await looked_at(bed, topic, 62)
        await looked_at(bed, topic, 60, 1)
    for partition, more in ((0, [60]), (1, [])):
        found = await there(bed, topic, partition)
        assert offsets(found) == [*range(10, 60, 2), *more]
        for number, each in zip(range(10, 60, 2), found, strict=False):
            assert each.value == b'{"n":%d,"who":"somebody"}' % number
            assert (each.timestamp_ms, each.key) == (made[number].timestamp_ms, made[number].key)
            assert [name for name, _ in each.headers] == [headers.SOURCE_OFFSET]
    said = await standing(bed, topic)
    assert said is not None
    assert (said.engine, said.filtered) == ("record: rules", {"even": 35, "who": 1})
    assert said.unreadable == {"even: not JSON, shipped": 1, "who: not JSON, dropped": 1}


async def test_a_run_that_is_left_out_whole_moves_the_position(bed: Bed) -> None:
    """So that it counts as done, and the next life does not read it again."""
    topic = await bed.topic(partitions=1)
    await write(bed, topic, [reading(n) for n in range(300)])
    link = bed.settings(topic, **rules({"drop": {"key": "k.*"}}))
    async with bed.link(link):
        await looked_at(bed, topic, 300)
    assert await there(bed, topic) == []
    await write(bed, topic, [reading(n) for n in range(300, 310)])
    async with bed.link(link):
        await looked_at(bed, topic, 310)
    said = await standing(bed, topic)
    assert said is not None
    assert said.filtered == {"rule 1": 10}


@pytest.mark.parametrize("ruled", [DROP_MOST, {"every_s": 0.05}, {"keep": {"key": "k0"}, "every_s": 0.02}])
async def test_killed_at_any_instant(bed: Bed, ruled: dict[str, Any]) -> None:
    """What the target has in the end is what one life without a kill ships, each once, in order."""
    topic = await bed.topic(partitions=1)
    start, rng = now_ms() - 3_600_000, random.Random(5)
    link = bed.settings(topic, **rules(ruled, position_interval_s=0.05, fetch_bytes=4096, partition_fetch_bytes=4096))
    made: list[Out] = []
    for life in range(12):
        more = [reading(n, start + n * 3 - rng.randrange(20)) for n in range(len(made), len(made) + 200)]
        made += more
        await write(bed, topic, more, batch=rng.choice((1, 5, 40)))
        ends = await _end(bed, topic)
        task = asyncio.create_task(run_link(link, asyncio.Event()))
        if life % 3 == 0:  # some come far, some hardly begin
            await asyncio.wait([task], timeout=rng.random() * 0.2)
        else:
            await until(lambda ends=ends: _grown(bed, topic, ends), "something is shipped")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with bed.link(link):
        await looked_at(bed, topic, len(made))
    whole = _expected(link, topic, await bed.data(bed.source, topic, 0))
    assert offsets(await there(bed, topic)) == whole
    assert 10 < len(whole) < len(made)


async def _end(bed: Bed, topic: str) -> int:
    return len(await there(bed, topic))


async def _grown(bed: Bed, topic: str, since: int) -> bool:
    return await _end(bed, topic) > since


def _expected(link: ReplicatorSettings, topic: str, found: list[Record]) -> list[int]:
    chain = chain_of(link, topic)
    assert chain is not None
    return [each.offset for each in chain.apply(found)]


async def test_the_real_process_killed(bed: Bed) -> None:
    """SIGKILL to the command itself, with rules from its settings."""
    topic = await bed.topic(partitions=1)
    link = bed.settings(topic, **rules(DROP_MOST, position_interval_s=0.05))
    for life in range(3):
        await bed.fill(topic, 500)
        async with replicator(bed, link):
            await until(lambda life=life: _grown(bed, topic, life * 70), "something is shipped")
    async with bed.link(link):
        await looked_at(bed, topic, 1500)
    assert [n % 7 for n in numbers(await there(bed, topic))] == [0] * 215
    assert offsets(await there(bed, topic)) == list(range(0, 1500, 7))


async def test_rules_that_come_change_and_go(bed: Bed) -> None:
    """Batches first; then rules, other rules, none: nothing comes twice, or is left out by a rule that is not there."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 20)
    await bed.ship_and_die()
    expected = list(range(20))
    lives: list[tuple[dict[str, Any], Callable[[int], bool]]] = [
        ({}, lambda _: True),
        (rules(DROP_MOST), lambda n: n % 7 == 0),
        (rules({"every_s": 3600}), lambda n: n < 167),
        ({}, lambda _: True),
        (rules({"drop": {"key": "k0"}}), lambda n: n % 7 != 0),
    ]
    for number, (more, ships) in enumerate(lives):
        numbers_of_life = range(20 + number * 70, 90 + number * 70)
        await bed.fill(topic, 70)
        async with bed.link(bed.settings(topic, **more)):
            await looked_at(bed, topic, numbers_of_life[-1] + 1)
        expected += filter(ships, numbers_of_life)
    assert await bed.arrived(topic) == expected
    assert await bed.gaps() == []


async def test_gaps_are_named_also_between_records_that_are_left_out(bed: Bed) -> None:
    """Retention that was faster, and a topic made anew: the rules begin again behind the gap."""
    topic = await bed.topic(partitions=1)
    link = bed.settings(topic, **rules({"every_s": 3600}))
    await bed.fill(topic, 20)
    async with bed.link(link):
        await looked_at(bed, topic, 20)
    await bed.fill(topic, 20)
    await bed.trim(bed.source, topic, 0, 30)
    async with bed.link(link):
        await looked_at(bed, topic, 40)
    assert offsets(await there(bed, topic)) == [*range(7), *range(30, 37)]
    await bed.delete(bed.source, topic)
    await bed.topic(partitions=1)
    await bed.fill(topic, 50)
    async with bed.link(link):
        await until(lambda: _grown(bed, topic, 20), "the new topic is shipped")
    assert offsets(await there(bed, topic)) == [*range(7), *range(30, 37), *range(7)]
    assert [(gap.cause, gap.first, gap.end) for gap in await bed.gaps()] == [(RETENTION, 20, 30), (RECREATED, 0, 40)]


async def test_aborted_records_never_count(bed: Bed) -> None:
    """A rule that thins out does not take an aborted record for the first of its span."""
    topic = await bed.topic(partitions=1)
    producer = bed.transactional(f"tx-{bed.site}")
    for number, ends in enumerate((producer.abort_transaction, producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, b"%d x" % number, b"k", partition=0)
        producer.flush(10)
        ends(10)
    async with bed.link(bed.settings(topic, **rules({"every_s": 3600}))):
        await looked_at(bed, topic, 4)
    assert numbers(await there(bed, topic)) == [1]


async def test_a_compacted_topic_has_rules_too(bed: Bed) -> None:
    """Its keys are filtered, its tombstones arrive, and limits of the target hold for what is shipped."""
    topic = await bed.topic(partitions=1, cleanup_policy="compact")
    outs = [*(reading(n) for n in range(30)), Out(b"k1", None, (), now_ms())]
    await write(bed, topic, outs)
    link = bed.settings(topic, **rules({"drop": {"key": "k1"}}))
    async with bed.link(link):
        await looked_at(bed, topic, 31)
    assert offsets(await there(bed, topic)) == [n for n in range(31) if n % 3 != 1 or n == 30]


async def test_what_stands_for_a_record_is_masked_too(bed: Bed) -> None:
    """A record that the target does not take shows nothing of what a rule hides."""
    topic = await bed.topic(partitions=1, message_timestamp_after_max_ms=str(1 << 60))
    await bed.make(bed.target, remote(bed.site, topic), 1, message_timestamp_after_max_ms="3600000")
    await write(bed, topic, [reading(1, now_ms() + 10**9)])
    async with bed.link(bed.settings(topic, **rules({"mask": ["who"], "mask_with": "?"}))):
        await looked_at(bed, topic, 1)
    (found,) = await there(bed, topic)
    assert json.loads(found.value or b"") == {"n": 1, "who": "?"}
    assert headers.find(found.headers, headers.QUARANTINE) == b"timestamp"
