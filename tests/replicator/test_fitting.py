"""What a target does not take as it is arrives cut, recompressed, or as what stands for it; nothing stops behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headwater.contract import headers
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Out, Record, encode
from headwater.transport.kafka_batch.compression import Codec
from replicator import fingerprint, quarantine
from replicator.batch_engine import BatchEngine
from replicator.engine import Ends, Engine
from replicator.running import run_link
from replicator.way import Way
from tests.replicator.bed import Bed, now_ms, numbered, until
from tests.replicator.silence import Blind, configure, notices, reason, ship_until_dead, standing

LIMIT = 4000
HOUR_MS = 3_600_000
Engines = Callable[[Way, Ends], Engine]


async def small_target(bed: Bed, topic: str, **configs: str) -> str:
    """A target topic with limits of its own, made before the link."""
    name = remote(bed.site, topic)
    await bed.make(bed.target, name, bed.partitions[topic], message_timestamp_type="CreateTime", **configs)
    return name


async def ship(bed: Bed, engine: Engines, **more: object) -> None:
    """Run a link with this engine until all is shipped."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_link(bed.settings(**more), stop, engine))
    try:
        await bed.shipped(task)
    finally:
        stop.set()
        await asyncio.wait([task], timeout=20)
    task.result()


@pytest.mark.parametrize("engine", [BatchEngine, Blind])
@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
async def test_batches_over_the_limit_are_split(bed: Bed, codec: str, engine: Engines) -> None:
    """Every record arrives, in its order and with its time, in batches that the topic takes; known or learnt."""
    topic = await bed.topic(partitions=1)
    target = await small_target(bed, topic, max_message_bytes=str(LIMIT))
    outs = [numbered(n)._replace(value=b"%d " % n + bytes((n * k * k) % 251 for k in range(300))) for n in range(100)]
    bed.produce(topic, outs, compression_type=codec, batch_num_messages="60")
    bed.produce(topic, [numbered(100 + n) for n in range(3)])
    await ship(bed, engine)
    await bed.assert_same(topic)
    assert max(len(batch.raw) for batch in await bed.batches(bed.target, target, 0)) <= LIMIT
    found = await standing(bed, topic)
    assert found is not None
    assert found.reworked["split"] >= 1
    assert not await notices(bed)


async def test_a_limit_that_is_lowered_meanwhile_is_learnt(bed: Bed) -> None:
    """The refusal of a topic whose limit went down costs an anchor, and no record."""
    topic = await bed.topic(partitions=1)
    async with bed.link(bed.settings()) as task:
        await bed.fill(topic, 10)
        await bed.shipped(task)
        configure(bed.target, remote(bed.site, topic), max_message_bytes="2000")
        await bed.fill(topic, 60, size=200, batch=30)
        await bed.shipped(task)
    await bed.assert_same(topic)


@pytest.mark.parametrize("engine", [BatchEngine, Blind])
async def test_a_record_over_the_limit_is_named_where_it_belongs(bed: Bed, engine: Engines) -> None:
    """What stands for it tells offset, size, time and digest; those around it arrive; it is said once."""
    topic = await bed.topic(partitions=1)
    target = await small_target(bed, topic, max_message_bytes=str(LIMIT))
    outs = [numbered(n, 5000 if n == 7 else 50) for n in range(20)]
    await bed.write(topic, 0, encode(outs, codec="none"), encode([numbered(20)]))
    await ship(bed, engine)
    ours, theirs = await bed.data(bed.source, topic, 0), await bed.data(bed.target, target, 0)
    assert [there[1:] == here[1:] for here, there in zip(ours, theirs, strict=True)] == [n != 7 for n in range(21)]
    there, here = theirs[7], ours[7]
    assert (there.key, there.value, there.timestamp_ms) == (here.key, None, here.timestamp_ms)
    assert reason(there) == quarantine.TOO_LARGE
    assert headers.find_number(there.headers, headers.SOURCE_OFFSET) == 7
    assert headers.find(there.headers, headers.SOURCE_DIGEST) == fingerprint.digest(here)
    assert quarantine.stands_for(there, here)
    (said,) = await notices(bed)
    assert (said.topic, said.target, said.cause, said.first, said.last) == (topic, target, "too-large", 7, 7)
    assert (said.replaced, said.halted, said.sha256) == (True, False, fingerprint.digest(here).hex())
    assert said.size == quarantine.size(here)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
@pytest.mark.parametrize("acknowledged", [False, True])
async def test_a_death_between_the_pieces_loses_and_doubles_nothing(bed: Bed, after: int, acknowledged: bool) -> None:
    """Whatever was written of a batch that was cut, with a record that something stands for, is counted on from."""
    topic = await bed.topic(partitions=1)
    target = await small_target(bed, topic, max_message_bytes="1500")
    await bed.write(topic, 0, encode([numbered(n, 3000 if n == 9 else 100) for n in range(30)]))
    await ship_until_dead(bed, after, acknowledged=acknowledged)
    await bed.ship()
    ours, theirs = await bed.data(bed.source, topic, 0), await bed.data(bed.target, target, 0)
    assert len(theirs) == 30
    assert all(quarantine.same(there, here) for there, here in zip(theirs, ours, strict=True))
    assert [n for n, there in enumerate(theirs) if reason(there)] == [9]
    assert [(said.cause, said.first) for said in await notices(bed)] == [("too-large", 9)]
    assert not await bed.gaps()


async def test_a_stand_in_as_the_last_record_is_known_again(bed: Bed) -> None:
    """The anchor compares the target's last record with the source's: what stands for it counts as it."""
    topic = await bed.topic(partitions=1)
    await small_target(bed, topic, max_message_bytes=str(LIMIT))
    await bed.fill(topic, 10)
    await bed.write(topic, 0, encode([numbered(10, 9000)]))
    await bed.ship_and_die()
    await bed.fill(topic, 5)
    await bed.ship()
    assert not await bed.gaps()
    assert len(await bed.data(bed.target, remote(bed.site, topic), 0)) == 16


@pytest.mark.parametrize("engine", [BatchEngine, Blind])
@pytest.mark.parametrize("codec", ["none", "lz4"])
async def test_times_that_the_target_does_not_take_are_replaced(bed: Bed, codec: Codec, engine: Engines) -> None:
    """Key, value and headers arrive with the time of shipping, and the record's own time in a header."""
    topic = await bed.topic(partitions=1, message_timestamp_after_max_ms=str(1 << 60))
    target = await small_target(
        bed, topic, message_timestamp_after_max_ms=str(HOUR_MS), message_timestamp_before_max_ms=str(24 * HOUR_MS)
    )
    now = now_ms()
    times = [now, now + 9 * HOUR_MS, now - HOUR_MS, now - 400 * HOUR_MS, now]
    outs = [numbered(n)._replace(timestamp_ms=stamp) for n, stamp in enumerate(times)]
    await bed.write(topic, 0, encode(outs, codec=codec), encode([numbered(5)]))
    await ship(bed, engine)
    theirs = await bed.data(bed.target, target, 0)
    assert [reason(record) for record in theirs] == [None, "timestamp", None, "timestamp", None, None]
    assert await bed.arrived(topic) == list(range(6))
    for n in (1, 3):
        assert abs(theirs[n].timestamp_ms - now) < 60_000
        assert theirs[n].headers[0] == outs[n].headers[0]
        assert headers.find_number(theirs[n].headers, headers.SOURCE_TIME) == times[n]
    assert [(said.cause, said.first) for said in await notices(bed)] == [("timestamp", 1), ("timestamp", 3)]


async def test_records_without_a_key_reach_a_compacted_target(bed: Bed) -> None:
    """They get a key of their own, so that they arrive and replace nothing; others keep theirs."""
    topic = await bed.topic(partitions=1)
    target = await small_target(bed, topic, cleanup_policy="compact")
    outs = [Out(None if n % 2 else b"k%d" % n, b"%d v" % n, (), now_ms()) for n in range(6)]
    await bed.write(topic, 0, encode(outs))
    await ship(bed, Blind)
    theirs = await bed.data(bed.target, target, 0)
    assert [record.value for record in theirs] == [out.value for out in outs]
    assert [record.key for record in theirs] == [out.key or f"{topic}/0/{n}".encode() for n, out in enumerate(outs)]
    assert [reason(record) for record in theirs] == [None, "keyless"] * 3


def test_what_stands_for_a_record_stands_for_no_other() -> None:
    """Another offset, another content, or a mere likeness is not taken for it."""
    way, here = Way("lyon", "readings", 2), Record(7, 5, b"k", b"v" * 300, (("h", b"1"),))
    there = Record(99, *_reordered(quarantine.stand_in(here, {quarantine.TOO_LARGE}, way, 1000)))
    assert quarantine.same(there, here)
    assert not quarantine.same(there, here._replace(offset=8))
    assert not quarantine.same(there, here._replace(value=b"w" * 300))
    assert not quarantine.same(there._replace(headers=()), here)


def _reordered(out: Out) -> tuple[int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]:
    return out.timestamp_ms, out.key, out.value, out.headers


async def test_a_stand_in_that_is_refused_too_halts_the_partition(bed: Bed) -> None:
    """With a limit that not even the name of a record fits into, the partition says so; others go on."""
    topic, other = await bed.topic(partitions=1), await bed.topic("other", partitions=1)
    await small_target(bed, topic, max_message_bytes="120")
    await bed.write(topic, 0, encode([numbered(0)]))
    await bed.fill(other, 5)
    async with bed.link(bed.settings()):
        await until(lambda: _halted(bed, topic), "it says that it halts")
        await until(lambda: bed.holds(remote(bed.site, other), 5), "the other topic is shipped")
    found = await standing(bed, topic)
    assert found is not None
    assert "bytes are too many even for what stands for offset 0" in found.halted
    assert found.hint == "raise max.message.bytes of the topic"


async def _halted(bed: Bed, topic: str) -> bool:
    found = await standing(bed, topic)
    return found is not None and bool(found.halted)


@pytest.mark.parametrize("engine", [BatchEngine, Blind])
async def test_small_batches_that_left_as_one_are_taken_apart_for_what_is_refused(bed: Bed, engine: Engines) -> None:
    """Of records that the link has merged, only the refused one is replaced; and the log is known again afterwards."""
    topic = await bed.topic(partitions=1, message_timestamp_after_max_ms=str(1 << 60))
    target = await small_target(bed, topic, message_timestamp_after_max_ms=str(HOUR_MS))
    now = now_ms()
    for n in range(40):
        out = numbered(n)._replace(timestamp_ms=now + 9 * HOUR_MS if n == 23 else now)
        await bed.write(topic, 0, encode([out]))
    await ship(bed, engine)
    await bed.fill(topic, 5)
    await ship(bed, engine)
    theirs = await bed.data(bed.target, target, 0)
    assert await bed.arrived(topic) == list(range(45))
    assert [n for n, record in enumerate(theirs) if reason(record)] == [23]
    assert [(said.cause, said.first) for said in await notices(bed)] == [("timestamp", 23)]
    assert not await bed.gaps()
