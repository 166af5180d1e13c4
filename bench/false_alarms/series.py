"""Recordings of which it is known what is normal: SKAB's layout, or NAB's (`timestamp,value`, windows in JSON)."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from bench.skab.protocol import File, files
from headwater.contract.errors import BadInput

_HEADER = ["timestamp", "value"]


def row_s(one: File) -> float:
    """Seconds from one row to the next, as usual in this recording."""
    return float(median(b - a for a, b in pairwise(one.t.tolist()))) or 1.0


def read(folders: list[Path]) -> list[list[File]]:
    """The recordings of each folder; BadInput names what cannot be read."""
    return [_nab(folder) if _is_nab(folder) else files(folder) for folder in folders]


def _is_nab(folder: Path) -> bool:
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        return False
    with paths[0].open(newline="", encoding="utf-8", errors="replace") as lines:
        return next(csv.reader(lines), []) == _HEADER


def _nab(folder: Path) -> list[File]:
    windows = _windows(folder)
    return [_series(path, windows.get(path.name, [])) for path in sorted(folder.glob("*.csv"))]


def _windows(folder: Path) -> dict[str, list[tuple[float, float]]]:
    """By file name the spans in which something is wrong; NAB names files with the folder that they came from."""
    found: dict[str, list[tuple[float, float]]] = {}
    for path in sorted(folder.glob("*windows*.json")):
        try:
            for name, spans in json.loads(path.read_text(encoding="utf-8")).items():
                found[Path(name).name] = [(_seconds(start), _seconds(end)) for start, end in spans]
        except (ValueError, AttributeError, TypeError) as error:
            raise BadInput(f"{path} does not hold windows by file name: {error}") from error
    return found


def _series(path: Path, windows: list[tuple[float, float]]) -> File:
    with path.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.reader(lines))[1:]
    try:
        t = np.array([_seconds(row[0]) for row in rows])
        values = np.array([[float(row[1])] for row in rows])
    except (ValueError, IndexError) as error:
        raise BadInput(f"{path} is not a series of NAB: {error}", hint="timestamp,value") from error
    labels = np.zeros(len(t), dtype=np.bool_)
    for start, end in windows:
        labels |= (t >= start) & (t <= end)
    return File(path.stem, "nab", ("value",), t, values, labels, np.zeros(len(t), dtype=np.bool_))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
