"""What a value, a time and an asset are, whatever format they arrived in.

Numbers that no sensor measures (NaN, infinities, beyond reading.MAX_VALUE either way) are None, as missing ones are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from headwater.contract.decoders.reasons import BAD_ASSET, BAD_TIME, refused
from headwater.contract.errors import BadInput
from headwater.contract.names import check_name
from headwater.contract.reading import MAX_TIME_MS, MAX_VALUE

TimeUnit = Literal["s", "ms", "us", "ns", "iso8601"]

MAX_NUMBER_CHARACTERS = 64  # a float has at most 24; reading thousands of digits would cost more than the message
MAX_TEXT_CHARACTERS = 1024  # with blanks around it, which are gone through for every sample that takes it
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WORDS = {"true": 1, "false": 0}
_NOT_FINITE = frozenset({"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})
_INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
_MAX_TIME = 1e20  # ns; beyond it a float is no time in any unit
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 60  # characters
_HUGE = 10**30
_MILLISECOND = timedelta(milliseconds=1)


def number(value: Any) -> float | int | None:
    """A number or boolean (0, 1), also as text; None for anything else."""
    kind = type(value)
    if kind is float or kind is int:
        return value if -MAX_VALUE <= value <= MAX_VALUE else None
    if kind is bool:
        return int(value)
    if kind is str:
        return text_number(value)
    if kind is Decimal and value.is_finite():
        return float(value) if -MAX_VALUE <= value <= MAX_VALUE else None
    return None


def text_number(text: str) -> float | int | None:
    """The number in a text, blanks around it ignored; None where there is none, and for NaN and infinities."""
    if len(text) > MAX_TEXT_CHARACTERS:
        return None
    text = text.strip()
    if len(text) > MAX_NUMBER_CHARACTERS:
        return None
    if _NUMBER.fullmatch(text):
        value = int(text) if _INTEGER.fullmatch(text) else float(text)
        return value if -MAX_VALUE <= value <= MAX_VALUE else None
    return _WORDS.get(text.lower())


def is_number_text(text: str) -> bool:
    """Whether a text is meant as a number, finite or not."""
    if len(text) > MAX_TEXT_CHARACTERS:
        return False
    text = text.strip()
    word = text.lower()
    return len(text) <= MAX_NUMBER_CHARACTERS and (
        _NUMBER.fullmatch(text) is not None or word in _WORDS or word in _NOT_FINITE
    )


def time_ms(value: Any, unit: TimeUnit, where: str) -> int:
    """Unix time in ms; BadInput if `value` is no time in that unit, or not between 1970 and 9999.

    A datetime is taken in any unit, one without a zone as UTC; so is `{"seconds": ..., "nanos": ...}`, the JSON
    and protobuf form of google.protobuf.Timestamp.
    """
    found = _ms(value, unit)
    if found is None:
        said = "missing" if value is None else f"not a time in {unit}: {shown(value)}"
        raise refused(BAD_TIME, f"the time at {where!r} is {said}", hint="see `time` and `time_unit` of the route")
    if not 0 <= found <= MAX_TIME_MS:
        said = f"the time at {where!r} is not between 1970 and 9999: {shown(value)} {unit}"
        raise refused(BAD_TIME, said, hint="is `time_unit` of the route right?")
    return found


def _ms(value: Any, unit: TimeUnit) -> int | None:
    if isinstance(value, datetime):
        return _of_datetime(value)
    if isinstance(value, Mapping):
        seconds, nanos = value.get("seconds"), value.get("nanos", 0)
        seconds = int(seconds) if type(seconds) is str and _INTEGER.fullmatch(seconds) else seconds
        return seconds * 1000 + nanos // 1_000_000 if type(seconds) is int and type(nanos) is int else None
    if unit == "iso8601":
        return _of_text(value) if type(value) is str else None
    if type(value) is str:
        value = int(value) if _INTEGER.fullmatch(value) else text_number(value)
    if isinstance(value, Decimal):
        value = float(value) if value.is_finite() else None
    if type(value) is int:
        return value * 1000 // _PER_SECOND[unit]
    if type(value) is float and math.isfinite(value) and abs(value) < _MAX_TIME:
        return round(value * 1000 / _PER_SECOND[unit])
    return None


def _of_text(text: str) -> int | None:
    if len(text) > MAX_TEXT_CHARACTERS:
        return None
    try:
        return _of_datetime(datetime.fromisoformat(text.strip()))
    except ValueError:
        return None


def _of_datetime(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND


def shown(value: Any) -> str:
    """A value of a message for people, short whatever it is."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    if isinstance(value, int) and abs(value) >= _HUGE:  # its digits would take long
        return "a huge number"
    if isinstance(value, (int, float, Decimal, datetime)):
        return str(value)[:_SHOWN]
    return "a table" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else "bytes"


def asset(value: Any, where: str) -> str:
    """The name of an asset, from a text or a whole number; BadInput otherwise."""
    if type(value) is int and 0 <= value < 10**18:
        value = str(value)
    if type(value) is not str:
        raise refused(BAD_ASSET, f"there is no asset at {where!r} but {shown(value)}", hint="see `asset` of the route")
    try:
        return check_name(value, "asset")
    except BadInput as error:
        raise refused(BAD_ASSET, str(error), hint=error.hint) from error
