"""Records in Parquet read back as they were, and what is none is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    found = parquet.decode(parquet.encode(given_), "x")
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
        parquet.decode(data, "x")
