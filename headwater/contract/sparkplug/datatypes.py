"""Data types of metrics and the numbers that they become (Sparkplug 3.0, section 6.4.16).

Integers of up to 32 bits are sent as uint32 and longer ones as uint64, negative ones in two's complement. Publishers
differ in the width to which they extend the sign (8, 32 or 64 bits); all of them are read. What is no number, or
beyond what a reading carries, is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headwater.contract.reading import MAX_VALUE

INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, BYTES, DATASET, TEMPLATE = range(10, 19)  # the fields of a value

NAMES: dict[int, str] = dict(
    enumerate(
        [
            "Int8",
            "Int16",
            "Int32",
            "Int64",
            "UInt8",
            "UInt16",
            "UInt32",
            "UInt64",
            "Float",
            "Double",
            "Boolean",
            "String",
            "DateTime",
            "Text",
            "UUID",
            "DataSet",
            "Bytes",
            "File",
            "Template",
            "PropertySet",
            "PropertySetList",
            "Int8Array",
            "Int16Array",
            "Int32Array",
            "Int64Array",
            "UInt8Array",
            "UInt16Array",
            "UInt32Array",
            "UInt64Array",
            "FloatArray",
            "DoubleArray",
            "BooleanArray",
            "StringArray",
            "DateTimeArray",
        ],
        start=1,
    )
)

COMMAND = 0  # instead of the type of a metric that is no measurement

Number = int | float | None
Convert = Callable[[Any], Number]


def key(datatype: int, field: int) -> int:
    """A data type together with the field in which its value came."""
    return datatype << 5 | field


def _whole(bits: int, *, signed: bool) -> Convert:
    top = 1 << bits
    half = top >> 1

    def convert(value: int) -> Number:
        if value >= top:  # a sign that was extended to 32 or to 64 bits
            value -= 1 << (32 if value < 1 << 32 else 64)
            if not signed or not -half <= value < 0:
                return None
        elif signed and value >= half:
            value -= top
        return value if -MAX_VALUE <= value <= MAX_VALUE else None

    return convert


def _real(value: float) -> Number:
    return value if -MAX_VALUE <= value <= MAX_VALUE else None  # NaN compares false


def _nothing(value: None) -> Number:
    return value


def _truth(value: int) -> Number:
    return 1 if value else 0


def _conversions() -> dict[int, Convert]:
    found: dict[int, Convert] = {}
    for datatype, bits in enumerate((8, 16, 32, 64), start=1):
        for field in (INT, LONG):
            found[key(datatype, field)] = _whole(bits, signed=True)
            found[key(datatype + 4, field)] = _whole(bits, signed=False)
            found[key(13, field)] = _whole(64, signed=False)  # ms of Unix time
    for datatype in (9, 10):
        for field in (FLOAT, DOUBLE):
            found[key(datatype, field)] = _real
    for field in (INT, LONG, BOOLEAN):
        found[key(11, field)] = _truth
    for datatype in (*range(1, 12), 13):
        found[key(datatype, 0)] = _nothing
    return found


# What a number becomes; and what is well-formed but no number, and is passed over.
CONVERT = _conversions()
_OTHERS = (12, *range(14, 35))
NOT_NUMBERS = frozenset(
    {key(datatype, STRING) for datatype in (12, 14, 15)}
    | {key(datatype, BYTES) for datatype in (17, 18, *range(22, 35))}
    | {key(16, DATASET), key(19, TEMPLATE)}
    | {key(datatype, 0) for datatype in _OTHERS}
)
