"""Records in Parquet files (parquet.apache.org, format version 2): the only place that imports pypa.

Columns: `offset` and `timestamp_ms` (log time since 1970) as int64, `class` (header `hw-class`), `key` and `value` as
binary, nullable; zstd. Any program that reads Parquet reads them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.contract.errors import BadInput, BadSetting
from headwater.transport.record_columns import RecordColumns

if TYPE_CHECKING:
    from types import ModuleType

MOST_BYTES = 256 << 20  # of the records of a file, as they are in memory
_TEXTS = ("class", "key", "value")
_DELTAS = {"offset": "DELTA_BINARY_PACKED", "timestamp_ms": "DELTA_BINARY_PACKED"}


def encode(found: RecordColumns) -> bytes:
    """A Parquet file of these records; BadSetting where pyarrow is not installed."""
    pa, parquet = _pyarrow()
    columns: dict[str, Any] = {
        "offset": pa.array(found.offsets),
        "timestamp_ms": pa.array(found.timestamps_ms),
        "class": pa.array(found.marks, pa.binary()),
        "key": pa.array(found.keys, pa.binary()),
        "value": pa.array(found.values, pa.binary()),
    }
    out = io.BytesIO()
    parquet.write_table(
        pa.table(columns),
        out,
        compression="zstd",
        use_dictionary=["class", "key"],
        column_encoding=_DELTAS,
        write_statistics=["offset", "timestamp_ms"],
    )
    return out.getvalue()


def decode(data: bytes, where: str, records: int) -> RecordColumns:
    """The records of such a file; BadInput, saying where, when it is none, or none of so many `records`.

    A few kilobytes may stand for gigabytes, so sizes are asked for first: what the file says of its columns, then, with
    every text still held once, how much all rows together would be. More than MOST_BYTES is refused.
    """
    pa, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(io.BytesIO(data), read_dictionary=list(_TEXTS))
        _check_sizes(file.metadata, records)
        table = file.read(columns=[*_DELTAS, *_TEXTS], use_threads=False)
        _check_total(table.column(name) for name in _TEXTS)
        offsets, times = (table.column(name).to_numpy().astype(np.int64, casting="safe") for name in _DELTAS)
        marks, keys, values = (table.column(name).cast(pa.binary()).to_pylist() for name in _TEXTS)
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        raise BadInput(f"{where} is no Parquet file of records: {error}") from error
    return RecordColumns(offsets, times, keys, values, marks)


def _check_sizes(metadata: Any, records: int) -> None:
    """By the file's own account; ValueError otherwise."""
    if metadata.num_rows != records:
        raise ValueError(f"it has {metadata.num_rows:,} rows, {records:,} are expected")
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if size > MOST_BYTES:
        raise ValueError(f"its columns have {size:,} bytes, at most {MOST_BYTES:,} are read")


def _check_total(columns: Iterable[Any]) -> None:
    """ValueError where all rows together are too large, though each text is there once."""
    import pyarrow.compute as pc  # noqa: PLC0415  # as in `_pyarrow`

    total = 0
    for chunk in (chunk for column in columns for chunk in column.chunks):
        sizes = pc.fill_null(pc.binary_length(chunk.dictionary), 0)
        total += pc.sum(pc.cast(pc.take(sizes, chunk.indices), "int64")).as_py() or 0
    if total > MOST_BYTES:
        raise ValueError(f"its rows have {total:,} bytes together, at most {MOST_BYTES:,} are read")


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa  # noqa: PLC0415  # 0.3 s, and only who freezes datasets has it
        from pyarrow import parquet  # noqa: PLC0415  # as above
    except ImportError as error:
        raise BadSetting(
            "frozen datasets need pyarrow, which is not installed", hint="pip install 'headwater[train]'"
        ) from error
    return pa, parquet
