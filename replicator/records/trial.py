"""What rules would do with one record, step by step: for `headwater replicate rules test`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headwater.contract import headers
from headwater.transport.kafka_batch import Record
from replicator.records.chain import Chain, Tally
from replicator.records.settings import RecordRule

_LETS_PASS, _CHANGES, _LEAVES_OUT = "lets it pass", "changes it", "leaves it out"


class Step(msgspec.Struct, frozen=True):
    """What one rule does: lets it pass, changes it, leaves it out; `unreadable`: why it could not read the value."""

    rule: str
    does: str
    unreadable: str = ""


class Shown(msgspec.Struct, frozen=True):
    """A record for people; bytes that are not UTF-8 with backslashes. None: no key, no value."""

    key: str | None
    value: str | None
    headers: dict[str, str | None]


class Trial(msgspec.Struct, frozen=True):
    """`record` is what would be shipped, None where it would be left out."""

    topic: str
    shipped: bool
    steps: list[Step]
    record: Shown | None


def tried(topic: str, rules: Sequence[tuple[str, RecordRule]], salt: bytes, record: Record) -> Trial:
    """One record through the rules of a topic, as if it were the first of its partition."""
    steps: list[Step] = []
    now: Record | None = record
    for name, rule in rules:
        if now is None:
            break
        tally = Tally()
        left = Chain([(name, rule)], salt).apply([now], tally)
        does = _LEAVES_OUT if not left else _LETS_PASS if left[0] == now else _CHANGES
        steps.append(Step(name, does, next((why for _, why, _ in tally.unreadable), "")))
        now = left[0] if left else None
    return Trial(topic, now is not None, steps, None if now is None else _shown(now))


def _shown(record: Record) -> Shown:
    named = {name: _text(value) for name, value in record.headers}
    named[headers.SOURCE_OFFSET] = "(its offset at the source)"
    return Shown(_text(record.key), _text(record.value), named)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")
