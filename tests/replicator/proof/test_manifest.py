"""The manifest on real clusters: complete over kills, small, and checked on either side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from headwater.contract import topics
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Batch, Out, encode, restamp
from headwater.transport.kafka_batch.administration import topic_configs
from replicator.proof.checking import SOURCE, TARGET, Checked
from replicator.proof.entry import COMPARED, READ, SHIPPED, Entry
from replicator.proof.heads import heads_in
from replicator.proof.manifest import breaks, place, read_manifest
from replicator.proof.sides import Side, check_side
from replicator.running import run_link
from replicator.status import stored
from tests.replicator.bed import Bed, until

EAGER = {"proof": {"interval_s": 0.05}}


async def entries_of(bed: Bed, topic: str, partition: int = 0) -> list[Entry]:
    """Entries of a partition, which follow each other."""
    found = (await read_manifest(bed.target, bed.site)).get((topic, partition), [])
    assert breaks(found) == []
    return found


async def checked(bed: Bed, side: Side = TARGET) -> list[Checked]:
    """What a check of one side finds."""
    return await check_side(bed.settings(), side)


async def test_all_that_was_shipped_is_proven_on_both_sides(bed: Bed) -> None:
    """After a stop every record has its entry; the target agrees alone, and so does the source, by the manifest."""
    topic = await bed.topic(partitions=2)
    await bed.fill(topic, 300, size=2000)
    await bed.ship()
    await bed.fill(topic, 50)
    for side, unproven in ((TARGET, 0), (SOURCE, 50)):  # which wait at the source
        assert [(c.proven, c.unproven, c.findings) for c in await checked(bed, side)] == [(300, unproven, [])] * 2
    (entry,) = await entries_of(bed, topic)
    assert (entry.source, entry.target, entry.seen, entry.before) == ((0, 300), (0, 300), SHIPPED, "")
    heads = heads_in(await stored(bed.target, bed.site))
    assert [heads[topic, p].source_next for p in range(2)] == [300, 300]


async def test_the_proof_is_small(bed: Bed) -> None:
    """With entries as often as they may come, manifest and heads take at most 0.2 % of what is shipped."""
    topic = await bed.topic(partitions=2)
    async with bed.link(bed.settings(**EAGER)):
        for count in range(160, 1440, 160):
            await bed.fill(topic, 160, size=10_000, batch=2)
            await until(partial(bed.holds, remote(bed.site, topic), count), "it is shipped")
    name = topics.manifest(bed.site, -1).name
    manifest = await sizes(bed, name, lambda _: True)
    heads = await sizes(bed, topics.positions(bed.site).name, lambda batch: b"proof/" in bytes(batch.raw))
    data = sum([await sizes(bed, remote(bed.site, topic), lambda _: True, p) for p in range(2)])
    share = (manifest + heads) / data
    assert len(await entries_of(bed, topic)) > 5
    print(f"proof: {share:.4%} of {data:,} bytes")
    assert share <= 0.002


async def sizes(bed: Bed, topic: str, which: Callable[[Batch], bool], partition: int = 0) -> int:
    """Bytes of some batches of a partition."""
    return sum(len(each.raw) for each in await bed.batches(bed.target, topic, partition) if which(each))


async def test_the_chain_is_whole_over_kills(bed: Bed) -> None:
    """Lives that end at any moment leave neither a hole nor a doubled entry, and what they shipped is read back."""
    topic = await bed.topic(partitions=2)
    settings = bed.settings(position_interval_s=600.0, **EAGER)
    await bed.ship_and_die(**EAGER)
    for shipped in range(0, 720, 120):
        await bed.fill(topic, 120, size=10_000, batch=2)
        task = asyncio.create_task(run_link(settings, asyncio.Event()))
        if shipped % 240:
            some = partial(bed.holds, remote(bed.site, topic), shipped + 30, more=True)
            await until(some, "some are shipped")
        else:
            await bed.shipped(task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await bed.ship(**EAGER)
    await bed.assert_same(topic)
    for each in await checked(bed):
        assert (each.proven, each.unproven, each.deleted, each.findings) == (720, 0, 0, [])
    found = await entries_of(bed, topic)
    assert {COMPARED} <= {each.seen for each in found} <= {COMPARED, SHIPPED}
    assert found[-1].source[1] == 720


async def test_a_second_life_replaces_what_the_first_could_not_note(bed: Bed) -> None:
    """An entry whose head was not stored is done again; the later one counts, and nothing is in two entries."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 40, size=1000)
    await bed.ship()
    (entry,) = await entries_of(bed, topic)
    part = Entry(0, (0, 20), (0, 20), 2, 2000, entry.cells, SHIPPED, "", 1)
    late = Entry(0, (20, 60), (20, 60), 2, 2000, entry.cells, SHIPPED, "x", 1)
    found: list[Entry] = []
    for each in (part, late, entry):
        place(found, each)
    assert found == [entry]


async def tampered(bed: Bed, topic: str, change: Callable[[list[Batch]], Sequence[bytes | bytearray]]) -> None:
    """Make the target's topic anew, with other batches, by another producer."""
    target = remote(bed.site, topic)
    ours = await bed.batches(bed.target, target, 0)
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    for batch in change(ours):
        (answer,) = await bed.target.produce([(target, 0, batch)])
        assert answer.error == 0, answer


def again(batch: Batch) -> bytearray:
    """The same batch by nobody in particular."""
    return restamp(batch, producer_id=-1, epoch=-1, sequence=-1)


def altered(batch: Batch) -> bytearray:
    """As many records, another value."""
    return encode([Out(b"k", b"other" * 3000, (), batch.base_timestamp)] * batch.count)


CHANGES: list[tuple[str, Callable[[list[Batch]], Sequence[bytes | bytearray]], str]] = [
    ("dropped", lambda b: [again(x) for x in [*b[:7], *b[9:]]], "4 records were dropped from offsets 14 to 17"),
    (
        "doubled",
        lambda b: [again(x) for x in [*b[:8], b[7], *b[8:]]],
        "offsets 16 to 17 repeat 2 records of offsets 14 to 15",
    ),
    ("swapped", lambda b: [again(x) for x in [*b[:5], b[6], b[5], *b[7:]]], "stand at offsets"),
    ("altered", lambda b: [again(x) if i != 4 else altered(x) for i, x in enumerate(b)], "offsets 8 to 9 differ from"),
    (
        "inserted",
        lambda b: [again(x) if x else altered(b[0]) for x in [*b[:3], None, *b[3:]]],
        "offsets 6 to 7 hold 2 records",
    ),
]


@pytest.mark.parametrize(("kind", "change", "says"), CHANGES, ids=[kind for kind, _, _ in CHANGES])
async def test_what_was_done_to_the_target_is_named(
    bed: Bed, kind: str, change: Callable[[list[Batch]], Sequence[bytes | bytearray]], says: str
) -> None:
    """Without the source, a range that another producer dropped, doubled, swapped, altered or put in is named."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 40, size=20_000, batch=2)
    await bed.ship()
    await tampered(bed, topic, change)
    (found,) = await check_side(bed.settings(), TARGET)
    assert [each.kind for each in found.findings] == [kind]
    assert says in found.findings[0].says


async def test_a_source_that_was_altered_is_named(bed: Bed) -> None:
    """The source is held against the manifest alone: what it has instead of what was shipped is named."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 40, size=20_000, batch=2)
    await bed.ship()
    ours = await bed.batches(bed.source, topic, 0)
    await bed.delete(bed.source, topic)
    await bed.make(bed.source, topic, 1)
    await bed.write(topic, 0, *(altered(each) if index == 5 else again(each) for index, each in enumerate(ours)))
    (found,) = await checked(bed, SOURCE)
    assert (found.proven, len(found.findings)) == (38, 1)
    assert "target offsets 10 to 11" in found.findings[0].says


async def test_batches_that_were_rebuilt_are_counted_at_the_source(bed: Bed) -> None:
    """Where a batch could not be passed on whole, the target agrees by its stamps, the source by the number."""
    topic = await bed.topic(partitions=1, message_timestamp_type="LogAppendTime")
    await bed.fill(topic, 40, batch=10)
    await bed.ship()
    (there,), (here,) = await checked(bed), await checked(bed, SOURCE)
    assert (there.proven, there.findings, here.proven, here.counted, here.findings) == (40, [], 40, 40, [])


async def test_sha256_of_the_records(bed: Bed) -> None:
    """As an option each entry has the SHA-256 of its records, also of those that are read back after a kill."""
    topic = await bed.topic(partitions=1)
    more: dict[str, Any] = {"proof": {"sha256": True}}
    await bed.fill(topic, 40)
    await bed.ship_and_die(**more)
    await bed.fill(topic, 30)
    await bed.ship(**more)
    (found,) = await checked(bed)
    assert (found.proven, found.sha256, found.findings) == (70, found.entries, [])
    assert all(each.sha256 for each in await entries_of(bed, topic))
    (here,) = await checked(bed, SOURCE)
    assert (here.proven, here.counted, here.sha256, here.findings) == (70, 0, here.entries, [])
    ours = await bed.data(bed.source, topic, 0)
    await bed.delete(bed.source, topic)
    await bed.make(bed.source, topic, 1)
    outs = [Out(*(r.key, b"other" if r.offset == 33 else r.value, r.headers, r.timestamp_ms)) for r in ours]
    await bed.write(topic, 0, encode(outs))
    (here,) = await checked(bed, SOURCE)
    assert here.findings


async def test_a_gap_begins_another_stretch(bed: Bed) -> None:
    """Records that retention took leave no hole in the target's offsets: both eras are proven."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    await bed.ship()
    await bed.fill(topic, 30)
    await bed.trim(bed.source, topic, 0, 45)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 45), "what is left is shipped")
    found = await entries_of(bed, topic)
    assert [(each.era, each.source, each.target) for each in found] == [(0, (0, 30), (0, 30)), (1, (45, 60), (30, 45))]
    (there,), (here,) = await checked(bed), await checked(bed, SOURCE)
    assert (there.proven, there.findings) == (45, [])
    assert (here.proven, here.findings) == (15, [])


async def test_a_target_that_was_restored_is_proven_again(bed: Bed) -> None:
    """Records that the target lost are shipped again, and their entries are replaced, whatever their batches are."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    for _ in range(3):
        await bed.fill(topic, 20, size=1000)
        await bed.ship()
    pid = await bed.producer()
    ours = await bed.batches(bed.target, target, 0)
    await bed.delete(bed.target, target)
    await bed.make(bed.target, target, 1)
    for batch in ours[:3]:
        stamped = restamp(batch, producer_id=pid, epoch=0, sequence=batch.base_sequence)
        assert (await bed.target.produce([(target, 0, stamped)]))[0].error == 0
    await bed.ship()
    await bed.assert_same(topic)
    found = await entries_of(bed, topic)
    assert (found[0].target, found[-1].target[1]) == ((0, 20), 60)
    (there,) = await checked(bed)
    assert (there.proven, there.unproven, there.findings) == (60, 0, [])


async def test_the_proof_is_kept_as_long_as_what_it_proves(bed: Bed) -> None:
    """Its retention is 400 days, or that of the topic at the target that is kept longest."""
    for stem, kept_ms in (("a", str(3_600_000)), ("b", str(500 * topics.DAY_MS))):
        await bed.topic(stem, partitions=1, retention_ms=kept_ms)
    name = topics.manifest(bed.site, -1).name

    async def keeps(kept_ms: int) -> bool:
        return await topic_configs(bed.target, name, ["retention.ms"]) == {"retention.ms": str(kept_ms)}

    short, long = bed.partitions
    async with bed.link(bed.settings(short)):
        await until(partial(bed.holds, remote(bed.site, short), 0), "the topic is there")
        assert await keeps(400 * topics.DAY_MS)
    async with bed.link(bed.settings(short, long)):
        await until(partial(keeps, 500 * topics.DAY_MS), "it is kept longer")


async def test_what_the_target_has_deleted_is_not_missed(bed: Bed) -> None:
    """Entries of records that the target's retention took are counted, and the rest is still proven."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 40, size=20_000, batch=2)
    await bed.ship()
    await bed.trim(bed.target, remote(bed.site, topic), 0, 17)
    (there,) = await checked(bed)
    assert (there.deleted, there.proven, there.findings) == (18, 22, [])


async def test_an_unproven_end_that_only_the_target_has(bed: Bed) -> None:
    """What an ended era left behind is read back from the target alone, and its entry says so."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    await bed.ship_and_die()
    await bed.trim(bed.source, topic, 0, 30)
    await bed.fill(topic, 10)
    async with bed.link(bed.settings()):
        await until(lambda: bed.holds(remote(bed.site, topic), 40), "the rest is shipped")
    found = await entries_of(bed, topic)
    assert READ in {each.seen for each in found}
