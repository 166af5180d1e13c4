"""Every offset of a range is a record, a marker, or an error that names it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from headwater.contract.errors import DataMissing
from headwater.transport.kafka_batch import Cluster, Fetched, KafkaSettings, Out, encode
from headwater.transport.kafka_batch.exact import read_columns
from headwater.transport.kafka_batch.records import FENCE_KEY
from tests.transport.kafka_batch.test_reading import fill, transactional


async def numbers(cluster: Cluster, topic: str, start: int, end: int) -> list[int]:
    found = [piece async for piece in read_columns(cluster, topic, 0, start, end, "hw-class")]
    return [int(value or b"") for piece in found for value in piece.values]


class Log(Cluster):
    """A log in memory that answers fetches with batches made by the test: base and last offset, records at offsets."""

    def __init__(self, *batches: tuple[int, int, list[int]]) -> None:
        super().__init__(KafkaSettings(brokers="127.0.0.1:1", request_timeout_s=0.5), client_id="none")
        self.parts = [(last, _batch(*each)) for each in batches for last in (each[1],)]
        self.end = max(last for last, _ in self.parts) + 1

    async def fetch(self, want: Mapping[tuple[str, int], int], **_: object) -> list[Fetched]:
        """From the batch that holds the offset on, or behind it."""
        (((topic, partition), at),) = want.items()
        data = b"".join(raw for last, raw in self.parts if last >= at)
        return [Fetched(topic, partition, 0, self.end, self.end, 0, [], memoryview(data))]


def _batch(base: int, last: int, kept: list[int]) -> bytes:
    """A batch as compaction leaves it: its own first and last offset, and the records that are left."""
    from headwater.transport.kafka_batch.crc import checksum  # noqa: PLC0415  # only here checksums are made to fit

    made = bytearray(encode([Out(None, b"%d" % n, (), 0) for n in kept] or [Out(None, b"x", (), 0)]))
    if kept:
        at = 61
        for n in kept:  # a record of one byte of value: length, attributes, time, offset delta, …
            made[at + 3] = (n - base) << 1
            at += 1 + (made[at] >> 1)
    else:
        del made[61:]
        made[57:61] = bytes(4)
        made[8:12] = (len(made) - 12).to_bytes(4, "big")
    made[0:8] = base.to_bytes(8, "big")
    made[23:27] = (last - base).to_bytes(4, "big")
    made[17:21] = checksum(memoryview(made)[21:]).to_bytes(4, "big")
    return bytes(made)


FULL = (0, 9, list(range(10)))


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([FULL, (15, 19, [15, 16, 17, 18, 19])], "offsets 10 to 14 are not in the log"),
        ([FULL, (10, 19, [10, 12, 19])], "7 of the offsets 11 to 18 are not in the log"),
        ([FULL, (10, 14, []), (15, 19, [15, 16, 17, 18, 19])], "5 of the offsets 10 to 14 are not in the log"),
        ([(0, 9, [0, 1, 2, 3, 4, 5, 6, 7, 9]), (10, 19, list(range(10, 20)))], "1 of the offsets 8 to 8 are"),
        ([FULL, (10, 17, list(range(10, 18))), (25, 25, [25])], "offsets 18 to 19 are not in the log"),
    ],
    ids=["between batches", "in a batch", "an emptied batch", "in the first batch", "at the very end"],
)
async def test_a_hole_is_named(batches: list[tuple[int, int, list[int]]], said: str) -> None:
    """Wherever compaction took records from the range, also where it left the batch that had held them."""
    with pytest.raises(DataMissing, match=rf"t\[0\]: {said}"):
        await numbers(Log(*batches), "t", 0, 20)


async def test_holes_outside_of_the_range_are_none() -> None:
    """A batch that was thinned out before the range begins, or behind its end, has all that is asked for."""
    log = Log((0, 9, [0, 4, 5, 6, 7, 8, 9]), (10, 19, [10, 11, 12, 19]))
    assert await numbers(log, "t", 4, 13) == list(range(4, 13))


async def test_borders_may_lie_anywhere(cluster: Cluster, topic: str) -> None:
    """Records exactly, whatever the batches; an empty range is empty; many batches come in few pieces."""
    await fill(cluster, topic, 95)
    for start, end in ((0, 95), (7, 8), (9, 11), (10, 20), (33, 77), (94, 95), (5, 5)):
        assert await numbers(cluster, topic, start, end) == list(range(start, end))
    pieces = [piece async for piece in read_columns(cluster, topic, 0, 3, 92, "hw-class")]
    assert [len(piece.keys) for piece in pieces] == [89]


async def test_retention_and_an_end_that_never_came_are_named(cluster: Cluster, topic: str) -> None:
    """Neither border is clamped."""
    await fill(cluster, topic, 50)
    admin = AdminClient({"bootstrap.servers": cluster.settings.brokers})
    for future in admin.delete_records([TopicPartition(topic, 0, 23)]).values():
        future.result(10)
    with pytest.raises(DataMissing, match=r"offsets 10 to 22 are gone; the log holds 23 to 49"):
        await numbers(cluster, topic, 10, 40)
    with pytest.raises(DataMissing, match=r"offsets 50 to 54 were asked for, the log ends at 50"):
        await numbers(cluster, topic, 30, 55)
    assert await numbers(cluster, topic, 23, 50) == list(range(23, 50))


async def test_transactions(cluster: Cluster, topic: str) -> None:
    """A range that ends in a marker ends at once; records of an aborted transaction are an error that names them."""
    producer = transactional(cluster, f"t-{topic}")
    for outcome in "cca":
        producer.begin_transaction()
        for index in range(3):
            producer.produce(topic, b"%d" % index, partition=0)
        producer.flush(10)
        producer.commit_transaction(10) if outcome == "c" else producer.abort_transaction(10)
    async with asyncio.timeout(10):  # the answer to the end of a transaction comes before its marker
        while (await cluster.offsets(topic, "latest"))[0] != 12:  # noqa: ASYNC110 - in another program
            await asyncio.sleep(0.01)  # 9 records, 3 markers
    for end in (4, 8):
        began = time.monotonic()
        assert await numbers(cluster, topic, 0, end) == [0, 1, 2] * (end // 4)
        assert time.monotonic() - began < 0.4  # no fetch waited for more
    assert await numbers(cluster, topic, 3, 4) == await numbers(cluster, topic, 11, 12) == []
    with pytest.raises(DataMissing, match=r"offsets 9 to 9 were written by a transaction that was aborted"):
        await numbers(cluster, topic, 9, 10)
    with pytest.raises(DataMissing, match=r"offsets 8 to 10 were written by a transaction that was aborted"):
        await numbers(cluster, topic, 0, 12)


async def test_a_range_of_a_fence_alone_has_no_pieces() -> None:
    """A record of fence.py is accounted for and is none: no empty piece is given to who reads."""
    log = Log(FULL)
    log.parts, log.end = [(0, bytes(encode([Out(FENCE_KEY, None, (), 0)])))], 1
    assert [piece async for piece in read_columns(log, "t", 0, 0, 1, "hw-class")] == []
