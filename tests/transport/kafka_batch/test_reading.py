"""Reading a partition: exactly the range that was asked for, or a sentence that says what is gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest
from confluent_kafka import Producer as Librdkafka
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from headwater.contract.errors import BadInput, DataMissing, Transient
from headwater.transport.kafka_batch import (
    Cluster,
    Fetched,
    KafkaSettings,
    Out,
    encode,
    read_compacted,
    read_range,
    read_records,
    read_tail,
)
from tests.transport.kafka_batch.conftest import make_topic, now_ms


async def fill(cluster: Cluster, topic: str, count: int, per_batch: int = 10, partition: int = 0) -> None:
    """Write the numbers 0 … count - 1."""
    for first in range(0, count, per_batch):
        some = [Out(b"%d" % i, b"%d" % i, (), now_ms()) for i in range(first, min(first + per_batch, count))]
        answers = await cluster.produce([(topic, partition, encode(some, codec="lz4"))])
        assert answers[0].error == 0


async def numbers(cluster: Cluster, topic: str, start: int, end: int) -> list[int]:
    return [int(r.value or b"") async for found in read_records(cluster, topic, 0, start, end) for r in found]


def transactional(cluster: Cluster, name: str) -> Librdkafka:
    producer = Librdkafka({"bootstrap.servers": cluster.settings.brokers, "transactional.id": name, "linger.ms": 0})
    producer.init_transactions(20)
    return producer


async def test_a_range_is_cut_at_the_record(cluster: Cluster, topic: str) -> None:
    """Both borders may lie inside a batch; batches come whole, records exactly."""
    await fill(cluster, topic, 95)
    for start, end in ((0, 95), (7, 8), (9, 11), (10, 20), (33, 77), (94, 95), (5, 5)):
        assert await numbers(cluster, topic, start, end) == list(range(start, end))
    whole = [(b.base_offset, b.last_offset) async for b in read_range(cluster, topic, 0, 13, 31)]
    assert whole == [(10, 19), (20, 29), (30, 39)]


async def test_offsets_and_times_are_told(cluster: Cluster, topic: str) -> None:
    """Both ends, and the first offset at or after a time, of every partition."""
    stamp = now_ms()
    for index in range(3):
        await cluster.produce([(topic, 2, encode([Out(None, b"v", (), stamp + index * 1000)]))])
    assert await cluster.partitions(topic) == 4
    assert await cluster.offsets(topic, "earliest") == dict.fromkeys(range(4), 0)
    assert await cluster.offsets(topic, "latest") == {0: 0, 1: 0, 2: 3, 3: 0}
    assert await cluster.offset_at(topic, stamp + 500) == {0: None, 1: None, 2: 1, 3: None}
    assert (await cluster.offset_at(topic, stamp + 9000))[2] is None


async def test_a_start_that_retention_deleted_is_named(cluster: Cluster, topic: str) -> None:
    """The error says which offsets are gone; the range behind them is still read."""
    await fill(cluster, topic, 50)
    admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
    for future in admin.delete_records([TopicPartition(topic, 0, 23)]).values():
        future.result(10)
    with pytest.raises(DataMissing, match=r"offsets 10 to 22 are gone; the log holds 23 to 49"):
        await numbers(cluster, topic, 10, 40)
    assert await numbers(cluster, topic, 23, 50) == list(range(23, 50))
    assert [r.offset for r in await read_tail(cluster, topic, 0, 40)] == list(range(23, 50))


async def test_an_end_behind_the_high_watermark_is_named(cluster: Cluster, topic: str) -> None:
    """What is not there yet is not waited for."""
    await fill(cluster, topic, 20)
    with pytest.raises(DataMissing, match=r"offsets 20 to 24 were asked for, the log ends at 20"):
        await numbers(cluster, topic, 10, 25)
    with pytest.raises(DataMissing, match=r"offset 30 is not there; the log holds 0 to 19"):
        await numbers(cluster, topic, 30, 31)


async def test_ranges_that_are_none_are_refused(cluster: Cluster, topic: str) -> None:
    """A start after its end, or before 0, is the caller's mistake."""
    for start, end in ((5, 4), (-1, 3)):
        with pytest.raises(BadInput, match="no range of offsets"):
            await numbers(cluster, topic, start, end)


async def test_a_topic_that_does_not_exist_is_named(cluster: Cluster) -> None:
    """An unknown topic is bad input when asked for by name."""
    with pytest.raises(BadInput, match="no topic 'nowhere'"):
        await cluster.partitions("nowhere")
    with pytest.raises(BadInput, match="no topic 'no good"):
        await cluster.offsets("no good name!", "latest")


async def test_aborted_records_and_markers_are_left_out(cluster: Cluster, topic: str) -> None:
    """A transaction that was aborted is skipped; a range that ends in markers ends at once."""
    producer = transactional(cluster, f"t-{topic}")
    for outcome in ("a", "c", "a", "c", "a"):
        producer.begin_transaction()
        for index in range(3):
            producer.produce(topic, f"{outcome}{index}", partition=0)
        producer.flush(10)
        producer.commit_transaction(10) if outcome == "c" else producer.abort_transaction(10)
    async with asyncio.timeout(10):  # the answer to the end of a transaction comes before its marker
        while (end := (await cluster.offsets(topic, "latest"))[0]) != 20:  # noqa: ASYNC110 - in another program
            await asyncio.sleep(0.01)  # 15 records, 5 markers
    began = time.monotonic()
    found = [r async for some in read_records(cluster, topic, 0, 0, end) for r in some]
    assert time.monotonic() - began < 0.4  # no fetch waited for more
    assert [(r.offset, r.value) for r in found] == [
        (4, b"c0"), (5, b"c1"), (6, b"c2"), (12, b"c0"), (13, b"c1"), (14, b"c2"),
    ]  # fmt: skip
    assert [r.offset for r in await read_tail(cluster, topic, 0, 4)] == [6, 12, 13, 14]
    assert [r.offset for r in await read_tail(cluster, topic, 0, 99)] == [4, 5, 6, 12, 13, 14]
    assert await read_tail(cluster, topic, 0, 0) == []


async def test_an_open_transaction_is_waited_for_with_a_bound(kafka: str, cluster: Cluster, topic: str) -> None:
    """Records that are not decided are not returned; waiting for them ends with an error that may pass."""
    producer = transactional(cluster, f"t-{topic}")
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush(10)
    async with Cluster(KafkaSettings(brokers=kafka, request_timeout_s=0.8), client_id="hasty") as hasty:
        with pytest.raises(Transient, match="offset 0 is not readable"):
            await asyncio.gather(*[anext(read_range(hasty, topic, 0, 0, 1))])
    producer.abort_transaction(10)
    assert [b async for b in read_range(cluster, topic, 0, 0, 2)] == []


async def test_a_compacted_partition_is_read_whole(cluster: Cluster, unique: str) -> None:
    """The newest record of each key counts, a null value removes it, and gaps are no error."""
    await make_topic(cluster, unique, 1, cleanup_policy="compact")
    stamp = now_ms()
    some = [Out(b"a", b"1", (), stamp), Out(b"b", b"1", (), stamp), Out(b"a", b"2", (), stamp)]
    await cluster.produce([(unique, 0, encode(some))])
    await cluster.produce([(unique, 0, encode([Out(b"b", None, (), stamp), Out(b"c", b"", (), stamp)]))])
    found = await read_compacted(cluster, unique, 0)
    assert {key: (r.offset, r.value) for key, r in found.items()} == {b"a": (2, b"2"), b"c": (4, b"")}


class HoledLog(Cluster):
    """A log in memory that answers fetches; offsets may be missing, as after compaction or truncation."""

    def __init__(self, *batches: tuple[int, int]) -> None:
        super().__init__(KafkaSettings(brokers="127.0.0.1:1"), client_id="none")
        self.data = b"".join(self._batch(base, count) for base, count in batches)
        self.end = sum(batches[-1])

    @staticmethod
    def _batch(base: int, count: int) -> bytes:
        made = encode([Out(None, b"%d" % i, (), 0) for i in range(base, base + count)])
        return base.to_bytes(8, "big") + bytes(made[8:])

    async def fetch(self, want: Mapping[tuple[str, int], int], **_: object) -> list[Fetched]:
        """All of it, whatever was asked for; readers skip what lies before."""
        ((topic, partition),) = want
        return [Fetched(topic, partition, 0, self.end, self.end, 0, [], memoryview(self.data))]


async def test_offsets_that_are_missing_in_between_are_named() -> None:
    """A hole between batches is never passed over in silence."""
    log = HoledLog((0, 10), (15, 10))
    with pytest.raises(DataMissing, match="offsets 10 to 14"):
        await numbers(log, "t", 0, 25)
    assert await numbers(log, "t", 0, 10) == list(range(10))
    assert await numbers(log, "t", 15, 25) == list(range(15, 25))
    with pytest.raises(DataMissing, match="offsets 12 to 14"):
        await numbers(log, "t", 12, 20)
    with pytest.raises(DataMissing, match="offsets 10 to 12"):
        await numbers(log, "t", 0, 13)


async def test_records_that_are_missing_inside_a_batch_are_named() -> None:
    """A batch that compaction has thinned out is refused as data of an exact range."""
    log = HoledLog((0, 10), (10, 10))
    thinned = bytearray(log.data)
    second = len(HoledLog((0, 10)).data)
    thinned[second + 23 : second + 27] = (14).to_bytes(4, "big")  # ten records over fifteen offsets
    log.data, log.end = bytes(thinned), 25
    with pytest.raises(DataMissing, match="offsets 10 to 24"):
        await numbers(log, "t", 0, 25)


async def test_a_corrupt_batch_is_not_decoded() -> None:
    """A bit that flipped on the broker's disk is found by the checksum."""
    log = HoledLog((0, 3))
    broken = bytearray(log.data)
    broken[-2] ^= 1
    log.data = bytes(broken)
    with pytest.raises(BadInput, match="corrupt"):
        await numbers(log, "t", 0, 3)
