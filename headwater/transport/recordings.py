"""Folders of recorded readings: one CSV file is one asset.

The layout is SKAB's (github.com/waico/SKAB, README): fields divided by `;`, a header, `datetime` first
(`2020-03-09 10:14:33`, taken as UTC unless it names its zone), then one column a channel, and perhaps `anomaly` and
`changepoint`, which are labels and never a channel. An empty field is a missing value. Where the header has no `;`,
fields are divided by commas. Where it has no `datetime`, rows are one second apart from `NO_CLOCK_MS` on: a life needs
no clock, its rows are its cycles.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from headwater.contract.errors import BadInput
from headwater.contract.names import check_name

NO_CLOCK_MS = 946_684_800_000  # 2000-01-01T00:00:00Z, the first row of a recording without times
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = "datetime"
_LABEL = "anomaly"
_CHANGE = "changepoint"
_LABELS = (_LABEL, _CHANGE)
_EXPECTED = f"expected a header `{_TIME};<channel>;...`, or channels alone, divided by `;` or commas"
_TOLD_BY_ROWS = ("time", "timestamp", "date", "ts", "cycle", "row")  # as channels they would tell where a row stands


class Row(NamedTuple):
    """Sensor time in ms, the value of each channel, and what the recording calls it, if it says so."""

    t: int
    values: dict[str, float | None]
    label: bool | None  # abnormal
    changepoint: bool | None = None


class Recording(NamedTuple):
    """One file: the asset that it is replayed as, its channels, its rows in order."""

    asset: str
    path: Path
    channels: tuple[str, ...]
    rows: list[Row]


def recordings(folder: Path) -> Iterator[Recording]:
    """Read every .csv below `folder`, in the order of their names.

    `valve1/0.csv` is the asset `valve1-0`; a file named like its folder gets that name once. BadInput names the file
    and line that cannot be used, and says so when there is no file or two would be the same asset.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder", hint="name a folder with recordings in .csv files")
    paths = sorted(folder.rglob("*.csv"), key=lambda path: _natural(path.relative_to(folder).as_posix()))
    if not paths:
        raise BadInput(f"there is no .csv file below {folder}")
    assets: dict[str, Path] = {}
    for path in paths:
        asset = _asset(path.relative_to(folder))
        if asset in assets:
            raise BadInput(f"{path} and {assets[asset]} would both be the asset {asset!r}", hint="rename one of them")
        assets[asset] = path
    for asset, path in assets.items():
        yield read(path, asset)


def read(path: Path, asset: str) -> Recording:
    """One recording; BadInput names the line that cannot be used."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # Excel begins files with a mark
            first = file.readline()
            file.seek(0)
            lines = csv.reader(file, delimiter=";" if ";" in first else ",")
            header = next(lines, [])
            channels = _channels(path, header)
            rows: list[Row] = []
            for line in filter(None, lines):
                rows.append(_row(path, lines.line_num, header, line, NO_CLOCK_MS + 1000 * len(rows)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is not a CSV file in UTF-8: {error}") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    if not rows:
        raise BadInput(f"{path} has no rows")
    return Recording(asset, path, channels, rows)


def _channels(path: Path, header: list[str]) -> tuple[str, ...]:
    is_timed = header[:1] == [_TIME]
    channels = tuple(name for name in header[is_timed:] if name not in _LABELS)
    if not channels or (not is_timed and (_TIME in header or any(map(_is_value, header)))):
        raise BadInput(f"{path}, line 1: {';'.join(header)[:80]!r} is not a header of a recording", hint=_EXPECTED)
    if len(set(header)) != len(header) or "" in header:
        raise BadInput(f"{path}, line 1: a column has no name, or one that is used twice")
    stray = [name for name in channels if name.strip().lower() in _TOLD_BY_ROWS]
    if stray and not is_timed:
        raise BadInput(
            f"{path}, line 1: there is no column {_TIME!r}, and {stray[0]!r} is not one of a sensor",
            hint=f"call it {_TIME} and put it first, if it holds times; or leave it out: rows are counted",
        )
    return channels


def _is_value(name: str) -> bool:
    """Whether what stands in the header is a number or a time, as where the header is missing."""
    for read_as in (float, _time_ms):
        try:
            read_as(name)
        except (ValueError, OverflowError):
            continue
        return True
    return False


def _row(path: Path, number: int, header: list[str], line: list[str], no_clock: int) -> Row:
    """`no_clock`: the time, in ms, where the header has none."""
    if len(line) != len(header):
        raise BadInput(f"{path}, line {number}: {len(line)} fields, the header has {len(header)}")
    fields = dict(zip(header, line, strict=True))
    said = fields.pop(_TIME, None)
    try:
        t = no_clock if said is None else _time_ms(said)
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{path}, line {number}: {said!r} is not a time", hint="2020-03-09 10:14:33") from error
    values: dict[str, float | None] = {}
    for name, text in fields.items():
        try:
            value = float(text) if text.strip() else None
        except ValueError as error:
            hint = _EXPECTED if said is None else ""
            raise BadInput(f"{path}, line {number}, column {name}: {text!r} is not a number", hint=hint) from error
        values[name] = value if value is None or math.isfinite(value) else None
    labels = {name: values.pop(name) for name in _LABELS if name in values}
    label = labels.get(_LABEL)
    change = labels.get(_CHANGE)
    return Row(t, values, None if label is None else label > 0, None if change is None else change > 0)


def _time_ms(text: str) -> int:
    """Milliseconds since 1970; UTC where no zone is given. Whole numbers alone, so that none is rounded away."""
    time = datetime.fromisoformat(text)
    since = (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)) - _EPOCH
    return since // timedelta(milliseconds=1)


def _asset(path: Path) -> str:
    parts = [*path.parts[:-1], path.stem]
    if len(parts) > 1 and parts[-1] == parts[-2]:
        parts.pop()
    return check_name(re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-"), f"{path} as an asset")


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key in which 2 comes before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", text)]
