"""Records as columns are those that records.py reads one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.contract import headers
from headwater.contract.errors import BadInput
from headwater.transport.kafka_batch.batches import Batch, batches
from headwater.transport.kafka_batch.columns import record_columns
from headwater.transport.kafka_batch.records import FENCE_KEY, Out, encode, records

BLOB = st.one_of(st.none(), st.binary(max_size=200))
NAMES = st.sampled_from(["hw-class", "hw-clasp", "hw", "other", "hw-class-2"])
OUT = st.builds(
    Out,
    BLOB,
    BLOB,
    st.lists(st.tuples(NAMES, BLOB), max_size=4).map(tuple),
    st.one_of(st.integers(0, 10**6), st.integers(10**12, 10**15)),
)


def batch_of(outs: list[Out], base: int, codec: Any = "none") -> Batch:
    raw = encode(outs, codec=codec)
    raw[0:8] = base.to_bytes(8, "big")
    return next(batches(memoryview(raw)))


@given(
    st.lists(st.lists(OUT, min_size=1, max_size=5), min_size=1, max_size=4), st.sampled_from(["none", "lz4", "zstd"])
)
def test_the_records_are_those_of_one_by_one(given_batches: list[list[Out]], codec: str) -> None:
    """Offsets, times, keys, values and the last header of the name, whatever is null, empty or long."""
    made, base = [], 7
    for outs in given_batches:
        made.append(batch_of(outs, base, codec))
        base += len(outs)
    found = record_columns("t", 0, made, "hw-class")
    wanted = [record for batch in made for record in records(batch)]
    assert found.offsets.tolist() == [each.offset for each in wanted]
    assert found.timestamps_ms.tolist() == [each.timestamp_ms for each in wanted]
    assert found.keys == [each.key for each in wanted]
    assert found.values == [each.value for each in wanted]
    assert found.marks == [headers.find(each.headers, "hw-class") for each in wanted]


@given(st.lists(OUT, min_size=1, max_size=4), st.data())
def test_damage_is_said_or_is_none(outs: list[Out], data: st.DataObject) -> None:
    """A changed byte with a checksum that fits it gives what records.py gives, an error too; nothing hangs."""
    raw = encode(outs)
    place = data.draw(st.integers(61, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    batch = next(batches(memoryview(raw)))
    batch = batch._replace(crc=0)
    whole = batch._replace(crc=_crc(batch))
    try:
        wanted = [each.value for each in records(whole)]
    except BadInput:
        wanted = None
    try:
        found = record_columns("t", 0, [whole], "hw-class").values
    except BadInput:
        found = None
    if wanted is not None:
        assert found == wanted


def _crc(batch: Batch) -> int:
    from headwater.transport.kafka_batch.crc import checksum  # noqa: PLC0415  # only this test makes checksums fit

    return checksum(batch.raw[21:])


def test_a_bad_checksum_is_named() -> None:
    """A batch that its broker's disk changed is refused by its offset."""
    raw = encode([Out(b"a", b"b", (), 1)])
    raw[-1] ^= 1
    with pytest.raises(BadInput, match=r"t\[3\]: the batch at offset 0 is corrupt"):
        record_columns("t", 3, list(batches(memoryview(raw))), "hw-class")


def test_what_a_fence_leaves_is_no_record() -> None:
    """The visible record of fence.py is left out, one of the same key that holds something is not."""
    fence, other = [Out(FENCE_KEY, None, (), 1)], [Out(FENCE_KEY, b"x", (), 1)]
    found = record_columns("t", 0, [batch_of(fence, 0), batch_of(other, 1), batch_of(fence + other, 2)], "hw-class")
    assert found.offsets.tolist() == [1, 2, 3]


def test_many_headers_are_read_too() -> None:
    """A record with more headers than numpy reads at once, and one of 100 years later, are read all the same."""
    many = tuple((f"h{n}", b"x") for n in range(100))
    outs = [Out(b"a", b"1", (*many, ("hw-class", b"pump")), 0), Out(b"a", b"2", (), 3_000_000_000_000)]
    found = record_columns("t", 0, [batch_of(outs, 0)], "hw-class")
    assert found.marks == [b"pump", None]
    assert found.timestamps_ms.tolist() == [0, 3_000_000_000_000]
