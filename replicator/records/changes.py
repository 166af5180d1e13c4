"""What rules change in records."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from fnmatch import translate
from functools import partial

import msgspec

from headwater.transport.kafka_batch import Record
from replicator.records.paths import Edit, Members, Parts, edited, parts_of, text_of
from replicator.records.settings import RecordRule

Change = Callable[[Record], Record]


def compiled(rule: RecordRule, salt: bytes) -> Change | None:
    """The changes of a rule to a record, None where it makes none; Unreadable where its value must be read."""
    edits = _edits(rule, salt)
    drops = _named(rule.remove_headers)
    added = tuple((name, value.encode()) for name, value in rule.set_headers.items())
    if drops is None and not added:
        return partial(_with_value, edits) if edits else None

    def change(record: Record) -> Record:
        if edits:
            record = _with_value(edits, record)
        headers = record.headers
        if headers and drops is not None:
            headers = tuple(each for each in headers if not drops(each[0]))
        if added:
            headers = (*(each for each in headers if each[0] not in rule.set_headers), *added)
        return record if headers == record.headers else record._replace(headers=headers)

    return change


def _named(patterns: tuple[str, ...]) -> Callable[[str], object] | None:
    if not patterns:
        return None
    return re.compile("|".join(translate(each) for each in patterns)).match


def _with_value(edits: list[tuple[Parts, Edit]], record: Record) -> Record:
    if record.value is None:
        return record
    value = edited(record.value, edits)
    return record if value is record.value else record._replace(value=value)


def _edits(rule: RecordRule, salt: bytes) -> list[tuple[Parts, Edit]]:
    """Renaming comes last, so that all paths are those that came into the rule."""
    mask = partial(_mask, _constant(rule) if not rule.needs_salt else partial(_digest, salt))
    found: list[tuple[Parts, Edit]] = [(parts_of(path), mask) for path in rule.mask]
    found += [(parts_of(path), _remove) for path in rule.remove_fields]
    renamed = sorted(rule.rename_fields.items(), key=lambda each: -len(parts_of(each[0])))  # inner names first
    found += [(parts_of(path), partial(_rename, name)) for path, name in renamed]
    return found


def _constant(rule: RecordRule) -> Callable[[msgspec.Raw], bytes]:
    text = msgspec.json.encode(rule.mask_with)
    return lambda _: text


def _digest(salt: bytes, raw: msgspec.Raw) -> bytes:
    """HMAC (RFC 2104) with SHA-256, in hex, as a JSON string."""
    return b'"%s"' % hmac.digest(salt, text_of(raw), "sha256").hex().encode()


def _mask(new: Callable[[msgspec.Raw], bytes], members: Members, name: str) -> None:
    """Null stays: it tells nothing but that nothing is there."""
    if bytes(members[name]) != b"null":
        members[name] = msgspec.Raw(new(members[name]))


def _remove(members: Members, name: str) -> None:
    del members[name]


def _rename(new: str, members: Members, name: str) -> None:
    items = [(new if each == name else each, raw) for each, raw in members.items() if each == name or each != new]
    members.clear()
    members.update(items)
