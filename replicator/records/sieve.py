"""Filters by key and value on whole batches: what they leave out is never made a record.

The values of a batch are read in one go, each as a line of its own; a batch in which that is not possible (a value that
is no JSON, one with a line break, a list on the way to a field) goes the long way, record by record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any

import msgspec

from headwater.transport.kafka_batch.light import Light
from replicator.records.conditions import compared, key_fits, lean
from replicator.records.paths import Parts, parts_of
from replicator.records.settings import RecordRule


class Unsuitable(Exception):  # a word to go the long way, no trouble
    """A batch that must go record by record."""


def is_sieve(rule: RecordRule) -> bool:
    """Whether a rule does nothing but keep or drop by key and field."""
    condition = rule.keep or rule.drop
    changes = rule.mask or rule.remove_fields or rule.rename_fields or rule.remove_headers or rule.set_headers
    if condition is None or (rule.keep and rule.drop) or rule.only or rule.every_s is not None or changes:
        return False
    return condition.header is None and condition.tombstone is None


class Sieve:
    """Of one rule, which `is_sieve`."""

    def __init__(self, rule: RecordRule) -> None:
        condition = rule.keep or rule.drop
        if condition is None:
            raise ValueError("a rule that is no sieve")
        self._keeps = rule.keep is not None
        self._spares = rule.tombstones == "keep"
        self._key = None if condition.key is None else key_fits(condition.key)
        self._field: Callable[[list[bytes]], Iterable[bool]] | None = None
        if condition.field is not None:
            self._field = _field(parts_of(condition.field), compared(condition))

    def passing(self, light: Light) -> list[int]:
        """Indexes of the records that pass; Unsuitable."""
        keys, values = light.keys, light.values
        keeps, spares, there = self._keeps, self._spares, [each for each in values if each is not None]
        fits: Iterable[bool]
        if self._field is None:
            fits = repeat(True, len(keys)) if self._key is None else map(self._key, keys)
        elif self._key is None and len(there) == len(values):
            fits = self._field(there)
        else:
            fits = self._with_field(keys, values)
        if len(there) == len(values):
            return [index for index, fit in enumerate(fits) if fit is keeps]
        pairs = zip(fits, values, strict=True)
        return [index for index, (fit, value) in enumerate(pairs) if fit is keeps or (spares and value is None)]

    def _with_field(self, keys: list[bytes | None], values: list[bytes | None]) -> list[bool]:
        """The field is looked at only where the key fits, as record by record."""
        key, field = self._key, self._field
        asked = [
            (index, value)
            for index, value in enumerate(values)
            if value is not None and (key is None or key(keys[index]))
        ]
        found = [False] * len(values)
        if asked and field is not None:
            for (index, _), fit in zip(asked, field([value for _, value in asked]), strict=True):
                found[index] = fit
        return found


def _field(parts: Parts, holds: Callable[[Any], bool]) -> Callable[[list[bytes]], Iterable[bool]]:
    decoder, depth = lean(parts), len(parts)

    def fits(values: list[bytes]) -> Iterable[bool]:
        if not all(each[:1] == b"{" and each[-1:] == b"}" for each in values):
            raise Unsuitable
        text = b"\n".join(values)
        if text.count(b"\n") != len(values) - 1:
            raise Unsuitable
        try:
            found = decoder.decode_lines(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Unsuitable from None
        if len(found) != len(values):  # each is one object or more: as many objects as values are one each
            raise Unsuitable
        for _ in range(depth):
            found = [None if each is None else each.m for each in found]
        if any(type(each) is list or type(each) is dict for each in found):
            raise Unsuitable
        return [each is not None and holds(each) for each in found]

    return fits
