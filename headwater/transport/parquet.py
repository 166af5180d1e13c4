"""Records in Parquet files (parquet.apache.org, format version 2): the only place that imports pypa.

Columns: `offset` and `timestamp_ms` (log time since 1970) as int64, `class` (header `hw-class`), `key` and `value` as
binary, nullable; zstd. Any program that reads Parquet reads them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.contract.errors import BadInput, BadSetting
from headwater.transport.record_columns import RecordColumns

if TYPE_CHECKING:
    from types import ModuleType

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


def decode(data: bytes, where: str) -> RecordColumns:
    """The records of such a file; BadInput, saying where, when it is none."""
    pa, parquet = _pyarrow()
    try:
        table = parquet.read_table(io.BytesIO(data), use_threads=False)
        offsets, times = (table.column(name).to_numpy().astype(np.int64, casting="safe") for name in _DELTAS)
        marks, keys, values = (table.column(name).cast(pa.binary()).to_pylist() for name in _TEXTS)
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        raise BadInput(f"{where} is no Parquet file of records: {error}") from error
    return RecordColumns(offsets, times, keys, values, marks)


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow as pa  # noqa: PLC0415  # 0.3 s, and only who freezes datasets has it
        from pyarrow import parquet  # noqa: PLC0415  # as above
    except ImportError as error:
        raise BadSetting(
            "frozen datasets need pyarrow, which is not installed", hint="pip install 'headwater[train]'"
        ) from error
    return pa, parquet
