"""Predictions of remaining life from a CSV file, as `python -m bench.cmapss --predictions` writes it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloud_trainer.series import Floats
from headwater.contract.errors import BadInput
from headwater.transport.files import read_named

_NEEDED = ("rul", "low", "high")
_TRUTH, _UNIT = "true", "unit"


@dataclass(frozen=True)
class Predictions:
    """Remaining life with intervals [n], in cycles; `left` is what it was, where that is known."""

    predicted: Floats
    low: Floats
    high: Floats
    left: Floats | None
    lives: int | None  # of which these are; None where nothing says

    @property
    def figures(self) -> dict[str, float]:
        """Root mean square error, share of intervals that hold the truth, and their mean width."""
        width = float((self.high - self.low).mean())
        if self.left is None:
            return {"width": width}
        off = self.predicted - self.left
        held = (self.low <= self.left) & (self.left <= self.high)
        return {"rmse": float(np.sqrt((off * off).mean())), "coverage": float(held.mean()), "width": width}

    @property
    def text(self) -> str:
        """What the picture of them shows."""
        of = f"{len(self.predicted):,} cycles" + ("" if self.lives is None else f" of {self.lives:,} lives")
        return f"Predictions in {of} with their intervals: {words(self.figures)}."


def words(figures: Mapping[str, float]) -> str:
    """Figures of remaining life in a line."""
    return ", ".join(f"{name} {value:.3g}" for name, value in figures.items())


def read(path: Path) -> Predictions:
    """Columns rul, low and high, and `unit` and `true` where they are known; BadInput names a line of no use."""
    text = read_named(path, 64 << 20).decode("utf-8-sig", errors="replace")
    lines = csv.DictReader(text.splitlines())
    missing = [name for name in _NEEDED if name not in (lines.fieldnames or ())]
    if missing:
        raise BadInput(f"{path} has no column {missing[0]}", hint="unit,rul,low,high, and true where it is known")
    columns: dict[str, list[float]] = {name: [] for name in (*_NEEDED, _TRUTH)}
    units: set[str | None] = set()
    for row in lines:
        units.add(row.get(_UNIT))
        for name, values in columns.items():
            if name == _TRUTH and _TRUTH not in (lines.fieldnames or ()):
                continue
            values.append(_number(row[name], f"{path}, line {lines.line_num}, column {name}"))
    if not columns["rul"]:
        raise BadInput(f"{path} has no rows")
    left = np.array(columns[_TRUTH]) if columns[_TRUTH] else None
    of = len(units) if _UNIT in (lines.fieldnames or ()) else None
    return Predictions(np.array(columns["rul"]), np.array(columns["low"]), np.array(columns["high"]), left, of)


def _number(text: str | None, where: str) -> float:
    try:
        found = float(text or "")
    except ValueError as error:
        raise BadInput(f"{where}: {text!r} is no number") from error
    if not math.isfinite(found):
        raise BadInput(f"{where}: {text!r} is no number of cycles", hint="leave out what has no prediction")
    return found
