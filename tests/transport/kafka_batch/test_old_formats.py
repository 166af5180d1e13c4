"""Messages of Kafka before 0.11, as vectors of their own writers and as this file builds them by the documentation."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest

from headwater.transport.kafka_batch import Record, batches, encode
from headwater.transport.kafka_batch.records import Out, records


def entry(
    offset: int, value: bytes | None, *, key: bytes | None = None, magic: int = 1, stamp: int = 5, codec: int = 0
) -> bytes:
    """One message as a log has it."""
    body = struct.pack(">bb", magic, codec) + (struct.pack(">q", stamp) if magic else b"")
    for blob in (key, value):
        body += struct.pack(">i", -1) if blob is None else struct.pack(">i", len(blob)) + blob
    return struct.pack(">qiI", offset, len(body) + 4, zlib.crc32(body)) + body


def read(*entries: bytes) -> list[Record]:
    """All records that a log of these entries has; their checksums hold."""
    found = list(batches(memoryview(b"".join(entries))))
    assert all(batch.crc_ok() for batch in found)
    return [record for batch in found for record in records(batch)]


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_keep_offsets_keys_values_and_times(magic: int) -> None:
    """Null and empty keys and values are told apart; format 0 has no times."""
    stamp = 7 if magic else -1
    found = read(entry(10, b"v", key=b"k", magic=magic, stamp=7), entry(11, None, key=b"", magic=magic, stamp=7))
    assert found == [Record(10, stamp, b"k", b"v"), Record(11, stamp, b"", None)]


def test_a_wrapper_of_format_1_counts_its_messages_from_its_last_one() -> None:
    """Offsets inside are relative, and the wrapper has the last one's."""
    inner = entry(0, b"a") + entry(1, b"b") + entry(2, b"c")
    found = read(entry(42, gzip.compress(inner), codec=1))
    assert [(record.offset, record.value) for record in found] == [(40, b"a"), (41, b"b"), (42, b"c")]


def test_a_wrapper_of_format_0_holds_offsets_as_they_are() -> None:
    """Holes that compaction left stay holes, in batches without one."""
    inner = entry(3, b"a", magic=0) + entry(7, b"b", magic=0) + entry(8, b"c", magic=0)
    raw = entry(8, gzip.compress(inner), magic=0, codec=1)
    assert [record.offset for record in read(raw)] == [3, 7, 8]
    assert [(batch.base_offset, batch.last_offset) for batch in batches(memoryview(raw))] == [(3, 3), (7, 8)]


def test_append_times_are_those_of_the_wrapper() -> None:
    """Bit 3 of the wrapper: its time counts, not those inside."""
    inner = entry(0, b"a", stamp=1) + entry(1, b"b", stamp=2)
    assert [record.timestamp_ms for record in read(entry(9, gzip.compress(inner), codec=1 | 8, stamp=77))] == [77, 77]


def test_old_and_new_formats_follow_each_other_in_one_fetch() -> None:
    """A log that lived through an update has both."""
    new = encode([Out(b"k", b"new", (), 9)])
    struct.pack_into(">q", new, 0, 2)
    assert [record.value for record in read(entry(0, b"zero", magic=0), entry(1, b"one"), bytes(new))] == [
        b"zero",
        b"one",
        b"new",
    ]


@pytest.mark.parametrize("at", [18, -1])
def test_a_flipped_bit_is_not_laundered(at: int) -> None:
    """What is made of a message whose checksum does not hold has one that does not hold either."""
    raw = bytearray(entry(5, b"value"))
    raw[at] ^= 4
    (batch,) = batches(memoryview(bytes(raw)))
    assert not batch.crc_ok()
    assert batch.last_offset == 5


def test_a_message_cut_short_is_dropped() -> None:
    """As with batches: the rest comes with the next fetch."""
    whole = entry(0, b"value")
    for cut in range(len(whole)):
        assert [batch.base_offset for batch in batches(memoryview(whole + whole[:cut]))] == [0]
