"""What `status` says of a partition from outside: what waits, what is gone at either end, what nobody may read yet."""

from __future__ import annotations

from functools import partial

from headwater.contract import headers
from headwater.contract.topics import remote
from headwater.transport.kafka_batch import Record, encode
from replicator import notices
from replicator.losses import sentences
from replicator.notices import of_gap, of_replaced
from replicator.operating.planning import plan_link
from replicator.position import RECREATED, Gap, Position, position_key
from replicator.position import encode as encode_value
from replicator.proof.cli import _compared_table
from replicator.proof.comparison import Comparison
from replicator.proof.entry import Head, head_key
from replicator.proof.heads import heads_in, safe_offset
from replicator.quarantine import TOO_LARGE
from replicator.status import LinkStatus, PartitionStatus, link_status
from replicator.verify import verify_link
from replicator.way import Way
from tests.replicator.bed import Bed, numbered, until
from tests.replicator.silence import configure

COMPACT = {"cleanup_policy": "compact", "max_compaction_lag_ms": str(1 << 60)}


async def _looked_at(bed: Bed, topic: str) -> tuple[LinkStatus, PartitionStatus]:
    """The whole link, and partition 0 of a topic."""
    found = await link_status(bed.settings())
    return found, next(each.partitions[0] for each in found.topics if each.topic == topic)


async def test_one_record_that_waits_is_seen_behind_lives_that_shipped_nothing(bed: Bed) -> None:
    """Each life of the record engine writes a record of its own at the target, which stands for none of the source."""
    topic = await bed.topic("status", partitions=1, **COMPACT)
    await bed.fill(topic, 10)
    await bed.ship()
    had = (await bed.target.offsets(remote(bed.site, topic), "latest"))[0]
    for life in range(1, 3):
        async with bed.link(bed.settings()):
            await until(partial(bed.ends_at, topic, 0, had + life), "it has fenced the life before")
    assert (await _looked_at(bed, topic))[1].state == "up to date"
    await bed.fill(topic, 1)
    found = (await _looked_at(bed, topic))[1]
    assert (found.state, found.lag_records) == ("behind", 1)


async def test_what_a_killed_life_shipped_record_by_record_does_not_wait(bed: Bed) -> None:
    """The stored position is behind; the last record of the target says how far the link is."""
    topic = await bed.topic("status", partitions=1, **COMPACT)
    await bed.fill(topic, 10)
    await bed.ship_and_die_at(topic, 0, 11)
    await bed.fill(topic, 3)
    found = (await _looked_at(bed, topic))[1]
    assert (await bed.position(topic)).source_next == 0
    assert (found.state, found.lag_records) == ("behind", 3)


async def test_retention_before_topics_without_marks_is_seen(bed: Bed) -> None:
    """A compacted topic never has marks in its position, one that was shipped for the first time has none yet."""
    compacted = await bed.topic("status", partitions=1, cleanup_policy="compact,delete")
    plain = await bed.topic(partitions=1)
    await bed.fill(compacted, 10)
    await bed.ship_and_die()
    async with bed.link(bed.settings()):
        await until(lambda: bed.has_position(plain), "the empty topic has a position too")
    for topic in (compacted, plain):
        await bed.fill(topic, 20)
        await bed.trim(bed.source, topic, 0, (await bed.source.offsets(topic, "latest"))[0] - 5)
    assert not (await bed.position(plain)).trail
    found = await link_status(bed.settings())
    assert [each.partitions[0].missing for each in found.topics] == [(10, 25), (0, 15)]
    assert [each.state for each in found.topics] == ["records missing"] * 2
    assert found.exit_code == 8


async def test_acknowledged_records_that_the_target_has_lost_are_named(bed: Bed) -> None:
    """They are neither up to date nor silently shipped again: the partition says so until they are there."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 20)
    await bed.ship()
    await bed.delete(bed.target, target)
    link, found = await _looked_at(bed, topic)
    assert (link.exit_code, found.state, found.lost) == (8, "records missing", 20)
    await bed.make(bed.target, target, 1)
    link, found = await _looked_at(bed, topic)
    assert (link.exit_code, found.state, found.lost) == (8, "records missing", 20)
    assert "the target has lost the last 20 records that it had acknowledged" in " ".join(sentences(topic, found))
    await bed.ship()
    link, found = await _looked_at(bed, topic)
    assert (link.exit_code, found.state, found.lost) == (0, "up to date", 0)


async def test_an_open_transaction_takes_neither_status_nor_verify_away(bed: Bed) -> None:
    """What is behind its begin waits, and is told apart; what is before it is compared."""
    topic, other = await bed.topic(partitions=1), await bed.topic("other", partitions=1)
    compacted = await bed.topic("status", partitions=1, **COMPACT)
    for each in (topic, other, compacted):
        await bed.fill(each, 10)
    await bed.ship()
    producer = bed.transactional(f"txn-{bed.site}")
    producer.begin_transaction()
    for each in (topic, compacted):
        producer.produce(each, b"open", b"key", partition=0)
    producer.flush(10)
    await bed.write(topic, 0, encode([numbered(11), numbered(12)]))
    link, found = await _looked_at(bed, topic)
    assert [each.state for each in link.topics] == ["behind", "up to date", "behind"]
    assert (found.lag_records, found.undecided, found.lag_s < 60) == (3, 3, True)
    assert link.running is None  # nobody can ship that
    assert "3 offsets wait for an open transaction" in " ".join(sentences(topic, found))
    compared = await verify_link(bed.settings())
    assert [(each.compared, each.waiting, each.agrees) for each in compared] == [
        (10, 3, True),
        (10, 0, True),
        (7, 1, True),
    ]
    producer.abort_transaction(10)


async def test_a_topic_called_proof_does_not_take_status_away(bed: Bed) -> None:
    """Its position has a key that looks like a proof's, but for its parts."""
    way = Way(bed.site, "proof", 0)
    kept = {position_key("proof", 0): _kept(Position(0, 0, 5, 5, 5)), head_key("proof", 0): _kept(Head(0, 4, 4, "", 1))}
    assert {pair: head.source_next for pair, head in heads_in(kept).items()} == {(way.topic, 0): 4}
    assert safe_offset(kept, "proof", 0) == 4


def _kept(value: Position | Head) -> Record:
    return Record(0, 1, b"", encode_value(value))


async def test_verify_where_the_target_alone_is_compacted(bed: Bed) -> None:
    """Records with a source offset of their own, without key, by batches before: what is there agrees, and no more."""
    topic = await bed.topic(partitions=1)
    target = remote(bed.site, topic)
    await bed.fill(topic, 20)
    await bed.ship()
    configure(bed.target, target, **COMPACT)
    chained = [numbered(n)._replace(headers=(("hw-source-offset", headers.number(n + 500)),)) for n in range(20, 25)]
    await bed.write(topic, 0, encode(chained), encode([numbered(25)._replace(key=None)]))
    async with bed.link(bed.settings()):
        await until(lambda: bed.last_is(topic, 25), "all is shipped")
    (found,) = await verify_link(bed.settings())
    assert found.agrees
    assert (found.compared, found.waiting, found.source_sha256) == (8, 0, found.target_sha256)
    await bed.trim(bed.source, topic, 0, 24)  # of the keys that are left, two are there
    (found,) = await verify_link(bed.settings())
    assert (found.compared, found.skipped, found.agrees) == (2, 6, True)
    forged = numbered(24)._replace(value=b"forged", headers=(("hw-source-offset", headers.number(24)),))
    assert (await bed.target.produce([(target, 0, encode([forged]))]))[0].error == 0
    (found,) = await verify_link(bed.settings())
    assert (found.compared, found.altered) == (2, 1)


async def test_plan_knows_what_run_does_with_a_compacted_target(bed: Bed) -> None:
    """It goes record by record, and is refused where its last record is somebody else's."""
    topic, foreign = await bed.topic(partitions=1), await bed.topic("other", partitions=1)
    for each in (topic, foreign):
        await bed.fill(each, 5)
        await bed.make(bed.target, remote(bed.site, each), 1, **COMPACT)
    await bed.target.produce([(remote(bed.site, foreign), 0, encode([numbered(1)]))])
    first, second = (await plan_link(bed.settings())).topics
    assert (first.engine, first.action, first.by) == ("record", "ship", "the topic at the target is compacted")
    assert (second.engine, second.action) == ("record", "refuse")
    assert "offset 0 names no offset of the source: somebody else writes to it" in second.why
    async with bed.link(bed.settings(topic)):
        await until(lambda: bed.last_is(topic, 4), "all is shipped")
    assert [each.action for each in (await plan_link(bed.settings())).topics] == ["ship", "refuse"]


def test_verify_shows_how_many_records_it_did_not_compare() -> None:
    """Those of former eras, which are at the target still."""
    one = Comparison("readings", 0, 40, 0, 0, 0, 3, 1234, "a" * 64, "a" * 64)
    header, row = [line.split() for line in _compared_table([one]).splitlines()[:2]]
    assert (header[7], row[7]) == ("skipped", "1234")


def test_a_record_that_was_replaced_behind_a_gap_is_named_beside_it() -> None:
    """The first record of a topic that was made anew has the offset by which the gap before it is named."""
    way = Way("lyon", "readings", 0)
    gap = Gap("readings", 0, RECREATED, 0, 7, 0, 1, 5)
    replaced = of_replaced(way, 1, Record(0, 5, b"k", b"v"), [TOO_LARGE], 6)
    keys = [of_gap(way, gap, halted=False).key, replaced.key]
    assert keys == [b"readings/0/1/0", b"readings/0/1/0/replaced"]
    assert "/replaced" in (notices.__doc__ or "")
