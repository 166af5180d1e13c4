"""Maintenance orders from a CSV file."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from headwater.contract.canonical import digest
from headwater.contract.errors import BadInput
from headwater.contract.labels import Label
from headwater.contract.reading import MAX_TIME_MS
from headwater.contract.topics import DAY_MS
from headwater.transport.files import read_named

COLUMNS = ("site", "asset", "from", "to", "kind")
_ORDER = "order"
_EXPECTED = (
    "site,asset,from,to,kind and perhaps order; times as 2026-03-09T10:14:33Z or 2026-03-09; "
    "`to` is empty as long as it goes on"
)


def read(path: Path) -> list[Label]:
    """The orders in a file, in its order; BadInput names the line and column that cannot be used.

    Fields are divided by commas or semicolons. Times without a zone are UTC; a date alone begins or ends with its day,
    and without an end what is wrong goes on. Without a column `order` a row is known by the digest of what it says but
    for its end, so that the same file may be read twice, and an end that comes later replaces the open one. Rows that
    repeat each other count once; BadInput where they contradict each other.
    """
    try:
        text = read_named(path, 64 << 20).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error}") from error
    first = text.partition("\n")[0]
    rows = csv.DictReader(text.splitlines(), delimiter=";" if first.count(";") > first.count(",") else ",")
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise BadInput(f"{path}, line 1: there is no column {missing[0]!r}", hint=_EXPECTED)
    now, found = int(time.time() * 1000), dict[str, tuple[int, Label]]()
    for row in rows:
        line = rows.line_num
        label = _label(row, f"{path}, line {line}", now)
        before, other = found.setdefault(label.key, (line, label))
        if other != label:
            raise BadInput(
                f"{path}, lines {before} and {line} say different things of order {label.order} of {label.asset_key}",
                hint="one row for each order; give parts of an order numbers of their own",
            )
    if not found:
        raise BadInput(f"{path} has no rows", hint=_EXPECTED)
    return [label for _, label in found.values()]


def _label(row: Mapping[str, str | None], where: str, now: int) -> Label:
    values = {name: (row.get(name) or "").strip() for name in (*COLUMNS, _ORDER)}
    order = values[_ORDER] or digest([values[name] for name in COLUMNS if name != "to"])[:16]
    begin = _time(values["from"], where, "from")
    end = _time(values["to"], where, "to") if values["to"] else MAX_TIME_MS
    label = Label(values["site"], values["asset"], begin, end, values["kind"], order, now)
    try:
        label.check()
    except BadInput as error:
        raise BadInput(f"{where}: {error}", hint=error.hint) from error
    return label


def _time(text: str, where: str, column: str) -> int:
    """In ms of Unix time: of a date alone the first in the column `from`, the last in the column `to`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{where}, column {column}: {text!r} is not a time", hint=_EXPECTED) from error
    begin = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
    return begin + DAY_MS - 1 if column == "to" and _is_date(text) else begin


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
