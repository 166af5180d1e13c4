"""Record batches: bytes as Kafka has them, and nothing but BadInput for what is not a batch."""

from __future__ import annotations

import struct

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch import Batch, Cluster, Out, Record, batches, encode, records, restamp
from headwater.transport.kafka_batch.batches import HEADER_BYTES
from headwater.transport.kafka_batch.compression import CODECS, Codec, inflate
from headwater.transport.kafka_batch.crc import checksum, joined, shift, tail_checksum
from headwater.transport.kafka_batch.records import encoded_bytes
from tests.transport.kafka_batch.conftest import now_ms

# Base offset, length, leader epoch, magic; (CRC); attributes and last offset delta, both timestamps; producer, epoch,
# sequence, count; the two records.
GOLDEN_FRONT = "000000000000000000000048ffffffff02"
GOLDEN_BEHIND_CRC = (
    "000000000001"
    "0000018bcfe568000000018bcfe56805"
    "000000000000109200030000000700000002"
    "1e000000026b0876616c310202680231"
    "0c000a02010100"
)

bodies = st.none() | st.binary(max_size=300)
outs = st.lists(
    st.builds(
        Out,
        key=bodies,
        value=bodies,
        headers=st.lists(st.tuples(st.text(max_size=20), bodies), max_size=4).map(tuple),
        timestamp_ms=st.integers(0, 1 << 42),
    ),
    min_size=1,
    max_size=30,
)


def one(data: bytes | bytearray) -> Batch:
    (batch,) = batches(memoryview(data))
    return batch


def as_records(sent: list[Out], base: int = 0) -> list[Record]:
    return [Record(base + i, o.timestamp_ms, o.key, o.value, o.headers) for i, o in enumerate(sent)]


@settings(deadline=None)
@given(outs, st.sampled_from(["none", "lz4", "zstd"]))
def test_what_is_encoded_is_read_back(sent: list[Out], codec: Codec) -> None:
    """Every record survives encoding in every codec that is written, and the header describes it."""
    batch = one(encode(sent, codec=codec, producer_id=7, epoch=3, sequence=11))
    assert records(batch) == as_records(sent)
    assert batch.crc_ok()
    assert (batch.codec, batch.count, batch.last_offset) == (codec, len(sent), len(sent) - 1)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 3, 11)
    assert batch.max_timestamp == max(o.timestamp_ms for o in sent)
    assert not batch.is_control
    assert not batch.is_transactional


@settings(deadline=None)
@given(outs)
def test_the_size_of_a_record_is_never_underestimated(sent: list[Out]) -> None:
    """The bound by which writes are cut into batches holds."""
    assert sum(map(encoded_bytes, sent)) + HEADER_BYTES >= len(encode(sent))


@settings(deadline=None)
@given(
    outs,
    st.sampled_from(["none", "lz4", "zstd"]),
    st.tuples(st.integers(0, 2**62), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1)),
    st.integers(0, 2**40),
    st.sampled_from([0, 0x08, 0x10, 0x40]),
)
def test_a_restamped_batch_has_the_checksum_of_its_bytes(
    sent: list[Out], codec: Codec, stamp: tuple[int, int, int], base: int, bits: int
) -> None:
    """The checksum mended by linearity equals the one computed over everything, whatever the header held."""
    data = encode(sent, codec=codec, producer_id=5, epoch=1, sequence=0)
    struct.pack_into(">q", data, 0, base)
    struct.pack_into(">h", data, 21, struct.unpack_from(">h", data, 21)[0] | bits)
    struct.pack_into(">I", data, 17, checksum(data[21:]))
    pid, epoch, sequence = stamp
    new = one(restamp(one(data), producer_id=pid, epoch=epoch, sequence=sequence))
    assert new.crc_ok()
    assert bytes(new.raw[HEADER_BYTES:]) == bytes(data[HEADER_BYTES:])
    assert (new.producer_id, new.producer_epoch, new.base_sequence, new.base_offset) == (pid, epoch, sequence, 0)
    assert new.attributes == CODECS.index(codec)
    assert (new.count, new.base_timestamp, new.max_timestamp) == (
        len(sent),
        sent[0].timestamp_ms,
        max(o.timestamp_ms for o in sent),
    )


@settings(deadline=None)
@given(outs, st.data())
def test_restamping_does_not_launder_corruption(sent: list[Out], data: st.DataObject) -> None:
    """A batch that was corrupt at the source stays corrupt, so that the target broker refuses it."""
    raw = encode(sent)
    where = data.draw(st.integers(HEADER_BYTES, len(raw) - 1))
    raw[where] ^= 1 << data.draw(st.integers(0, 7))
    assert not one(raw).crc_ok()
    assert not one(restamp(one(raw), producer_id=1, epoch=0, sequence=0)).crc_ok()


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=3000))
def test_a_checksum_is_mended_without_reading_the_tail(old: bytes, new: bytes, tail: bytes) -> None:
    """crc(new‖tail) follows from crc(old‖tail), both heads and the tail's length."""
    size = min(len(old), len(new))
    old, new = old[:size], new[:size]
    alone = tail_checksum(checksum(old + tail), old, len(tail))
    assert alone == checksum(tail)
    assert joined(new, alone, len(tail)) == checksum(new + tail)


def test_a_checksum_difference_is_carried_over_any_length() -> None:
    """Shifting by a + b is shifting by a, then by b, up to the largest batch."""
    for first, second in ((1, 2), (999, 1 << 20), ((1 << 30) - 7, 7)):
        assert shift(shift(0x1234ABCD, first), second) == shift(0x1234ABCD, first + second)


def test_the_bytes_of_a_batch_are_those_of_kafka() -> None:
    """The format is pinned byte by byte (worked out by hand from the protocol's description)."""
    sent = [Out(b"k", b"val1", (("h", b"1"),), 1_700_000_000_000), Out(None, None, (), 1_700_000_000_005)]
    made = encode(sent, producer_id=0x1092, epoch=3, sequence=7)
    assert made[:17].hex() == GOLDEN_FRONT
    assert made[21:].hex() == GOLDEN_BEHIND_CRC
    assert one(made).crc_ok()


def test_a_batch_cut_short_is_dropped_and_the_ones_before_stay() -> None:
    """A fetch ends anywhere; what is not whole comes again with the next one."""
    whole = encode([Out(b"k", b"v", (), 0)])
    for cut in range(len(whole)):
        assert len(list(batches(memoryview(bytes(whole + whole[:cut]))))) == 1


def test_newer_formats_are_named_as_such() -> None:
    """A batch of a version that is not known is refused with the version that it has."""
    new = bytearray(encode([Out(b"k", b"v", (), 0)]))
    new[16] = 3
    with pytest.raises(BadInput, match="format version 3"):
        list(batches(memoryview(new)))


@settings(deadline=None, max_examples=400)
@given(outs, st.sampled_from(["none", "lz4", "zstd"]), st.data())
def test_broken_batches_raise_nothing_but_bad_input(sent: list[Out], codec: Codec, data: st.DataObject) -> None:
    """Mutated bytes are either read or refused with BadInput; nothing else leaves the parser."""
    raw = encode(sent, codec=codec)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        for batch in batches(memoryview(raw)):
            batch.is_abort()
            records(batch)
    except BadInput:
        pass


@settings(deadline=None)
@given(st.binary(max_size=400), st.integers(0, 7))
def test_arbitrary_bytes_raise_nothing_but_bad_input(raw: bytes, code: int) -> None:
    """The same for bytes that never were a batch, and for each decompressor."""
    try:
        list(batches(memoryview(raw)))
    except BadInput:
        pass
    try:
        inflate(code, memoryview(raw))
    except BadInput:
        pass


def test_a_small_batch_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What inflates beyond the bound is refused in every codec."""
    import gzip  # noqa: PLC0415  # needed here alone

    import cramjam  # noqa: PLC0415  # as above
    import lz4.frame  # noqa: PLC0415  # as above
    import zstandard  # noqa: PLC0415  # as above

    monkeypatch.setattr("headwater.transport.kafka_batch.compression.INFLATED_BYTES", 1 << 20)
    zeros = bytes(2 << 20)
    xerial = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    block = bytes(cramjam.snappy.compress_raw(zeros[: 768 << 10]))
    bombs = {
        1: gzip.compress(zeros),
        2: bytes(cramjam.snappy.compress_raw(zeros)),
        3: lz4.frame.compress(zeros),
        4: zstandard.compress(zeros),
    }
    for code, bomb in bombs.items():
        with pytest.raises(BadInput, match=r"inflates to more|ends early"):
            inflate(code, memoryview(bomb))
    with pytest.raises(BadInput):
        inflate(2, memoryview(xerial + 2 * (struct.pack(">i", len(block)) + block)))
    assert len(inflate(2, memoryview(xerial + struct.pack(">i", len(block)) + block))) == 768 << 10


@pytest.mark.parametrize("codec", CODECS)
async def test_what_librdkafka_wrote_is_read(cluster: Cluster, topic: str, codec: Codec) -> None:
    """Keys, values, headers and times of another client's batches come out of the real broker as they went in."""
    stamp = now_ms()
    sent = [
        Out(None if i % 5 == 0 else b"k%d" % i, None if i % 7 == 0 else b"v%d " % i * 40, _headers(i), stamp + i % 13)
        for i in range(500)
    ]
    producer = Producer({"bootstrap.servers": cluster.settings.brokers, "compression.type": codec, "linger.ms": 200})
    for out in sent:
        producer.produce(topic, out.value, out.key, 1, timestamp=out.timestamp_ms, headers=list(out.headers))
    producer.flush(10)
    (fetched,) = await cluster.fetch({(topic, 1): 0})
    found = list(batches(fetched.data))
    assert {batch.codec for batch in found} == {codec}
    assert all(batch.crc_ok() for batch in found)
    assert [record for batch in found for record in records(batch)] == as_records(sent)
    if codec == "none":  # and ours are the same bytes
        for batch in found:
            ours = encode(sent[batch.base_offset : batch.last_offset + 1])
            assert ours[HEADER_BYTES:] == batch.raw[HEADER_BYTES:]


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
async def test_librdkafka_reads_what_we_wrote(cluster: Cluster, topic: str, codec: Codec) -> None:
    """The real broker takes our batches (above lz4's block size too) and another client reads them."""
    sent = [Out(b"k", b"%d " % i * 100, _headers(i), now_ms()) for i in range(1000)]
    (produced,) = await cluster.produce([(topic, 2, encode(sent, codec=codec))])
    assert (produced.error, produced.base_offset) == (0, 0)
    consumer = Consumer({"bootstrap.servers": cluster.settings.brokers, "group.id": topic})
    consumer.assign([TopicPartition(topic, 2, 0)])
    found = consumer.consume(len(sent), timeout=10)
    consumer.close()
    assert [(m.key(), m.value(), tuple(m.headers() or ()), m.timestamp()[1]) for m in found] == [
        (o.key, o.value, o.headers, o.timestamp_ms) for o in sent
    ]


async def test_a_restamped_batch_is_taken_by_a_broker_and_a_corrupt_one_is_not(cluster: Cluster, topic: str) -> None:
    """Whole batches are copied to another partition; a flipped bit is refused by the broker as corrupt (code 2)."""
    sent = [Out(b"k", b"v%d" % i, (), now_ms()) for i in range(50)]
    await cluster.produce([(topic, 0, encode(sent, codec="zstd"))])
    (fetched,) = await cluster.fetch({(topic, 0): 0})
    source = next(batches(fetched.data))
    producer = await cluster.init_producer_id()
    copy = restamp(source, producer_id=producer.id, epoch=producer.epoch, sequence=0)
    assert [p.error for p in await cluster.produce([(topic, 1, copy)])] == [0]
    (again,) = await cluster.fetch({(topic, 1): 0})
    assert records(next(batches(again.data))) == records(source)
    damaged = bytearray(source.raw)
    damaged[-3] ^= 4
    bad = restamp(one(damaged), producer_id=producer.id, epoch=producer.epoch, sequence=50)
    assert [p.error for p in await cluster.produce([(topic, 1, bad)])] == [2]


def _headers(index: int) -> tuple[tuple[str, bytes | None], ...]:
    return () if index % 3 else (("hw-é", b"%d" % index), ("none", None), ("hw-é", b""))
