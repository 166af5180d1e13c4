"""Records in Parquet read back as they were, and what is none is refused."""

from __future__ import annotations

import io
import resource

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as written

from headwater.contract.errors import BadInput
from headwater.transport import parquet
from headwater.transport.record_columns import RecordColumns

BLOB = st.one_of(st.none(), st.binary(max_size=20))
INTS = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(st.tuples(INTS, INTS, BLOB, BLOB, BLOB), max_size=20))
@settings(max_examples=30, deadline=None)
def test_records_read_back(rows: list[tuple[int, int, bytes | None, bytes | None, bytes | None]]) -> None:
    """Null is not empty, and numbers keep all their bits."""
    offsets, times, *texts = ([row[i] for row in rows] for i in range(5))
    given_ = RecordColumns(np.array(offsets, np.int64), np.array(times, np.int64), *texts)
    found = parquet.decode(parquet.encode(given_), "x", len(rows))
    assert np.array_equal(found.offsets, given_.offsets)
    assert np.array_equal(found.timestamps_ms, given_.timestamps_ms)
    assert found[2:] == given_[2:]


def test_the_same_records_give_the_same_bytes() -> None:
    """So that a file can be called by its digest."""
    one = RecordColumns(np.arange(500), np.arange(500), [b"a"] * 500, [b"%d" % n for n in range(500)], [None] * 500)
    assert parquet.encode(one) == parquet.encode(one)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_what_is_no_parquet_is_refused(data: bytes) -> None:
    """With where it was."""
    with pytest.raises(BadInput, match="x is no Parquet file of records"):
        parquet.decode(data, "x", 1)


def rows_of(values: pa.Array) -> bytes:
    """A file whose values are these, as any program might write it."""
    count, out = len(values), io.BytesIO()
    numbers, none = pa.array(np.arange(count)), pa.nulls(count, pa.binary())
    columns = {"offset": numbers, "timestamp_ms": numbers, "class": none, "key": none, "value": values}
    written.write_table(pa.table(columns), out, compression="zstd")
    return out.getvalue()


def test_a_file_of_another_number_of_records_is_refused() -> None:
    """Before any of them is read."""
    data = rows_of(pa.array([b"{}"] * 5))
    assert len(parquet.decode(data, "x", 5).keys) == 5
    with pytest.raises(BadInput, match="it has 5 rows, 4 are expected"):
        parquet.decode(data, "x", 4)


def test_a_small_file_that_stands_for_gigabytes_is_refused() -> None:
    """Zeros that were compressed, and one text that each of 200,000 rows names: neither is unpacked."""
    zeros = rows_of(pa.array([bytes(1 << 20) + b"%d" % n for n in range(300)]))
    same = rows_of(pa.DictionaryArray.from_arrays(pa.array(np.zeros(200_000, np.int32)), pa.array([bytes(1 << 20)])))
    assert max(len(zeros), len(same)) < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput, match=r"its columns have 3\d\d,\d+,\d+ bytes, at most 268,435,456 are read"):
        parquet.decode(zeros, "x", 300)
    with pytest.raises(BadInput, match=r"its rows have 209,7\d\d,\d+,\d+ bytes together"):
        parquet.decode(same, "x", 200_000)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < 100 << 20
