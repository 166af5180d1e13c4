"""What a link carries over, and how."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from headwater.contract import headers
from headwater.contract.errors import Fenced, Refused
from headwater.contract.topics import TopicSpec, remote
from headwater.transport.kafka_batch import Out, Writer, encode, read_compacted
from headwater.transport.kafka_batch.administration import create_topic, topic_configs
from replicator.running import run_link
from tests.replicator.bed import PATIENCE_S, Bed, now_ms, numbered, numbers, put, until


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_batches_arrive_byte_for_byte(bed: Bed, codec: str) -> None:
    """Whatever their codec, batches keep their bytes, times and partition."""
    topic = await bed.topic()
    for partition in range(2):
        bed.produce(topic, [numbered(100 * partition + n, 300) for n in range(40)], partition, compression_type=codec)
        bed.produce(topic, [numbered(100 * partition + 50)], partition, compression_type=codec)
    await bed.ship()
    await bed.assert_same(topic)
    for partition in range(2):
        await bed.assert_same_bytes(topic, partition)


async def test_keys_values_headers_and_times_are_kept(bed: Bed) -> None:
    """Null and empty keys and values, repeated, null and binary headers, and odd times come out as they went in."""
    topic = await bed.topic(partitions=1, message_timestamp_after_max_ms=str(1 << 60))
    outs = [
        Out(None, None, (), 0),
        Out(b"", b"", (("", b""),), 1),
        Out(b"k", None, (("twice", b"1"), ("twice", b"2"), ("null", None)), 1_700_000_000_000),
        Out(None, b"\0\xff" * 9, (("ключ", bytes(range(256))),), now_ms() + 40 * 86_400_000),
        Out(b"old", b"v", (), 1),
    ]
    await bed.write(topic, 0, encode(outs), encode(outs[2:4], codec="zstd"))
    await bed.ship()
    await bed.assert_same(topic)
    assert (await bed.contents(bed.target, remote(bed.site, topic)))[0][:5] == [(o[3], *o[:3]) for o in outs]


async def test_markers_and_aborted_records_are_not_shipped(bed: Bed) -> None:
    """Fences and transactions leave markers in the source; only committed records arrive, in their order."""
    topic = await bed.topic(partitions=1)
    producer = bed.transactional(f"txn-{bed.site}")
    for life in range(3):
        writer = await Writer.open(bed.source, f"fenced-{bed.site}", {topic: [0]})
        await writer.write(topic, 0, [numbered(10 * life + n) for n in range(5)])
        await writer.close()
        producer.begin_transaction()
        put(producer, topic, [numbered(1000 * (life + 1) + n) for n in range(5)])
        producer.flush(10)
        bed.produce(topic, [numbered(10 * life + 5)])
        if life == 1:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    await bed.ship()
    await bed.assert_same(topic)
    arrived = numbers(await bed.data(bed.target, remote(bed.site, topic), 0))
    assert arrived == [*range(6), *range(10, 15), *range(2000, 2005), 15, *range(20, 26)]
    assert (await bed.target.offsets(remote(bed.site, topic), "latest"))[0] == len(arrived)


async def test_an_open_transaction_holds_back_what_follows_it(bed: Bed) -> None:
    """Nothing behind an undecided transaction arrives before it is decided."""
    topic = await bed.topic(partitions=1)
    producer = bed.transactional(f"open-{bed.site}")
    bed.produce(topic, [numbered(0)])
    producer.begin_transaction()
    put(producer, topic, [numbered(100)])
    producer.flush(10)
    bed.produce(topic, [numbered(1)])
    name = remote(bed.site, topic)
    async with bed.link(bed.settings()) as task:
        await until(lambda: bed.holds(name, 1), "the record before the transaction is there")
        await asyncio.sleep(0.3)  # several fetches
        assert await bed.holds(name, 1)
        producer.commit_transaction(10)
        await bed.shipped(task)
    assert numbers(await bed.data(bed.target, remote(bed.site, topic), 0)) == [0, 100, 1]


async def test_append_times_become_the_records_times(bed: Bed) -> None:
    """Of a source that counts by append time, the times that its readers saw are kept."""
    topic = await bed.topic(partitions=1, message_timestamp_type="LogAppendTime")
    bed.produce(topic, [numbered(n) for n in range(20)], compression_type="gzip")
    await bed.ship()
    await bed.assert_same(topic)
    assert {record.timestamp_ms for record in await bed.data(bed.target, remote(bed.site, topic), 0)} != {0}


async def test_new_records_arrive_while_it_runs(bed: Bed) -> None:
    """A running link ships what comes, in topics of different sizes, and a topic that is made later."""
    topics = [await bed.topic(stem, partitions=n) for stem, n in (("a", 3), ("b", 1))]
    late = f"c-{bed.site}"
    async with bed.link(bed.settings(*topics, late)) as task:
        for _ in range(3):
            for topic in topics:
                await bed.fill(topic, 7)
            await bed.shipped(task)
        topics.append(await bed.topic("c", partitions=2))
        await bed.fill(late, 5)
        await bed.shipped(task)
    for topic in topics:
        await bed.assert_same(topic)


async def test_targets_are_made_like_their_sources(bed: Bed) -> None:
    """Partitions, clean-up, retention and message size are carried over; bytes and times are protected."""
    topic = await bed.topic(partitions=3, retention_ms="7654321", max_message_bytes="2000000")
    await bed.fill(topic, 1)
    await bed.ship()
    name = remote(bed.site, topic)
    wanted = ["retention.ms", "max.message.bytes", "cleanup.policy", "compression.type", "message.timestamp.type"]
    assert await bed.target.partitions(name) == 3
    assert await topic_configs(bed.target, name, wanted) == dict(
        zip(wanted, ["7654321", "2000000", "delete", "producer", "CreateTime"], strict=True)
    )


async def test_a_target_with_fewer_partitions_is_widened(bed: Bed) -> None:
    """Partitions keep their numbers: a smaller target gets as many partitions as the source has."""
    topic = await bed.topic(partitions=3)
    await create_topic(bed.target, TopicSpec(remote(bed.site, topic), 2))
    await bed.fill(topic, 3)
    await bed.ship()
    await bed.assert_same(topic)


async def test_a_topic_of_somebody_else_is_refused(bed: Bed) -> None:
    """Records at the target that no stored position explains stop the link before it writes."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 3)
    name = remote(bed.site, topic)
    await create_topic(bed.target, TopicSpec(name, 1))
    await bed.target.produce([(name, 0, encode([numbered(99)]))])
    with pytest.raises(Refused, match="no position is stored"):
        await bed.ship()
    assert (await bed.target.offsets(name, "latest"))[0] == 1


@pytest.mark.parametrize("running", [False, True])
async def test_another_writer_at_the_target_is_noticed(bed: Bed, running: bool) -> None:
    """A record that somebody else adds later halts the partition: numbers and offsets no longer agree."""
    topic = await bed.topic(partitions=1)
    name = remote(bed.site, topic)
    await bed.fill(topic, 3)
    if not running:
        await bed.ship()
    task = asyncio.create_task(run_link(bed.settings(), asyncio.Event())) if running else None
    await until(lambda: bed.holds(name, 3), "the first records are shipped")
    await bed.target.produce([(name, 0, encode([numbered(99)]))])
    await bed.fill(topic, 3)
    with pytest.raises(Refused, match="somebody else writes to it"):
        await asyncio.wait_for(task or run_link(bed.settings(), asyncio.Event()), PATIENCE_S)


async def test_what_a_link_counts_is_on_its_metrics_port(bed: Bed) -> None:
    """Shipped records, lag and halted partitions are served to Prometheus, by topic."""
    topic = await bed.topic(partitions=1)
    await bed.fill(topic, 30)
    async with bed.link(bed.settings(metrics_port=0)) as task:
        await bed.shipped(task)
        await until(lambda: _sample(topic, "headwater_replicator_shipped_records_total", 30), "records are counted")
        assert await _sample(topic, "headwater_replicator_lag_records", 0)
        assert await _sample(topic, "headwater_replicator_lag_seconds", 0)
        assert await _sample(topic, "headwater_replicator_halted_partitions", 0)


async def _sample(topic: str, name: str, value: float) -> bool:
    samples = (sample for metric in REGISTRY.collect() for sample in metric.samples)
    return [s.value for s in samples if s.name == name and s.labels.get("topic") == topic] == [value]


async def test_a_compacted_topic_is_copied_record_by_record(bed: Bed) -> None:
    """Each record and tombstone arrives with its source offset in a header; a restart goes on behind the last one."""
    topic = await bed.topic("status", partitions=2, cleanup_policy="compact")
    for round_ in range(3):
        for partition in range(2):
            bed.produce(
                topic, [Out(b"k%d" % (n % 3), b"%d" % (10 * round_ + n), (), 5 + n) for n in range(4)], partition
            )
            bed.produce(topic, [Out(b"k0", None, (("h", b"1"),), 77)], partition)
        await (bed.ship_and_die() if round_ == 1 else bed.ship())
    name = remote(bed.site, topic)
    for partition in range(2):
        ours = await bed.data(bed.source, topic, partition)
        theirs = await bed.data(bed.target, name, partition)
        added = [headers.find_number(record.headers, headers.SOURCE_OFFSET) for record in theirs]
        assert added == [record.offset for record in ours]
        assert [record[1:4] for record in theirs] == [record[1:4] for record in ours]
        assert [record.headers[:-1] for record in theirs] == [record.headers for record in ours]
        assert (await read_compacted(bed.target, name, partition)).keys() == {b"k1", b"k2"}


async def test_a_second_link_for_a_site_shuts_out_the_first(bed: Bed) -> None:
    """Two at once neither double nor lose a record, and the first one ends with a clear word."""
    topic = await bed.topic(partitions=2)
    settings = bed.settings(position_interval_s=0.1)
    await bed.fill(topic, 300, batch=2)
    first = asyncio.create_task(run_link(settings, asyncio.Event()))
    await until(lambda: bed.holds(remote(bed.site, topic), 10, more=True), "the first link ships")
    async with bed.link(settings) as second, asyncio.timeout(PATIENCE_S):
        await bed.fill(topic, 300, batch=2)
        await bed.shipped(second)
        with pytest.raises(Fenced, match=f"the link of {bed.site} was taken over.*INVALID_PRODUCER_EPOCH") as fenced:
            await first
        assert "replicator.shared = true" in fenced.value.hint
    await bed.assert_same(topic)
