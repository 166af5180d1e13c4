"""Conditions of rules as functions of a record."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from headwater.transport.kafka_batch import Record
from replicator.records.paths import Parts, found_at, parts_of
from replicator.records.settings import Condition

Fits = Callable[[Record], bool]
_KEYS = 4096  # whose verdict is remembered


def compiled(condition: Condition) -> Fits:
    """Whether a record is as a condition says; Unreadable where its value must be read and is no JSON object.

    A key or header that is not UTF-8 fits no pattern and no text. A tombstone has no fields.
    """
    tests: list[Fits] = []  # the cheapest first
    if condition.tombstone is not None:
        wanted = condition.tombstone
        tests.append(lambda record: (record.value is None) == wanted)
    if condition.key is not None:
        tests.append(_key(condition.key))
    if condition.header is not None:
        tests.append(_header(condition.header, condition.header_is))
    if condition.field is not None:
        tests.append(_field(parts_of(condition.field), compared(condition)))
    if len(tests) == 1:
        return tests[0]
    return lambda record: all(test(record) for test in tests)


def key_fits(pattern: str) -> Callable[[bytes | None], bool]:
    """Whether a pattern fits a whole key."""
    whole = re.compile(pattern).fullmatch

    @lru_cache(maxsize=_KEYS)
    def fits(key: bytes | None) -> bool:
        if key is None:
            return False
        try:
            return whole(key.decode()) is not None
        except UnicodeDecodeError:
            return False

    return fits


def _key(pattern: str) -> Fits:
    fits = key_fits(pattern)
    return lambda record: fits(record.key)


def _header(name: str, value: str | None) -> Fits:
    if value is None:
        return lambda record: any(each[0] == name for each in record.headers)
    pair = name, value.encode()
    return lambda record: pair in record.headers


def _field(parts: Parts, holds: Callable[[Any], bool]) -> Fits:
    decode, depth = lean(parts).decode, len(parts)

    def fits(record: Record) -> bool:
        value = record.value
        if value is None:
            return False
        try:
            found = decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return any(map(holds, found_at(value, parts)))  # a list on the way, or a word about what is wrong
        for _ in range(depth):
            found = found.m
            if found is None:
                return False
        if type(found) is list or type(found) is dict:
            return any(map(holds, found_at(value, parts)))
        return holds(found)

    return fits


def lean(parts: Parts) -> msgspec.json.Decoder[Any]:
    """Read one field and step over all else: `m` of `m` of what it makes, None where it is null or not there."""
    kind: Any = Any
    for name in reversed(parts):
        field = msgspec.field(default=None, name=name)
        kind = msgspec.defstruct("Lean", [("m", kind | None if kind is not Any else Any, field)], gc=False)
    return msgspec.json.Decoder(kind)


def compared(condition: Condition) -> Callable[[Any], bool]:
    """What the field must be; without a comparison anything but null."""
    if condition.equals is not None:
        return _equal(condition.equals)
    above, at_least, below, at_most = condition.above, condition.at_least, condition.below, condition.at_most
    if above is None and at_least is None and below is None and at_most is None:
        return lambda found: found is not None

    if (at_least, below, at_most) == (None, None, None) and above is not None:
        return lambda found: (type(found) is float or type(found) is int) and found > above

    def within(found: Any) -> bool:
        if type(found) is not float and type(found) is not int:
            return False
        return (
            (above is None or found > above)
            and (at_least is None or found >= at_least)
            and (below is None or found < below)
            and (at_most is None or found <= at_most)
        )

    return within


def _equal(wanted: bool | float | str) -> Callable[[Any], bool]:
    """Numbers equal numbers, and true is none of them."""
    if isinstance(wanted, (bool, str)):
        return lambda found: type(found) is type(wanted) and found == wanted
    return lambda found: type(found) in (int, float) and found == wanted
