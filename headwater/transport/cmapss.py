"""Folders of run-to-failure recordings in the form of NASA's C-MAPSS sets.

`train_FD001.txt` and `test_FD001.txt` have a line a cycle: unit, cycle, three settings and 21 sensors, divided by
blanks, each unit's cycles in a row from 1 on. Training units end with their failure; the file `RUL_FD001.txt` has a
line a test unit: how many cycles it had left after its last line (Saxena, Goebel, Simon, Eklund: Damage propagation
modeling for aircraft engine run-to-failure simulation, PHM 2008; the readme beside the data).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.contract.errors import BadInput

Floats = npt.NDArray[np.float64]
SETTINGS = tuple(f"setting{number}" for number in range(1, 4))
SENSORS = tuple(f"sensor{number}" for number in range(1, 22))
_COLUMNS = 2 + len(SETTINGS) + len(SENSORS)


class Unit(NamedTuple):
    """One engine from its first cycle on: settings [cycles, 3] and sensors [cycles, 21]."""

    number: int
    settings: Floats
    sensors: Floats


def subsets(folder: Path) -> list[str]:
    """Names of the sets that the folder has, such as FD001; BadInput where there is none."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder", hint="name a folder with train_FD001.txt and test_FD001.txt")
    found = sorted(path.stem.removeprefix("train_") for path in folder.glob("train_*.txt"))
    if not found:
        raise BadInput(
            f"there is no train_*.txt in {folder}", hint="name a folder with train_FD001.txt and test_FD001.txt"
        )
    return found


def units(folder: Path, part: str, subset: str) -> list[Unit]:
    """The units of `part` (train, test) of a set; BadInput names the file and what is wrong with it."""
    path = folder / f"{part}_{subset}.txt"
    rows = _numbers(path)
    if rows.shape[1] != _COLUMNS:
        raise BadInput(f"{path} has {rows.shape[1]} columns, {_COLUMNS} are expected")
    found = []
    begins = np.flatnonzero(np.diff(rows[:, 0], prepend=np.nan))
    for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True):
        one = rows[begin:end]
        if not (one[:, 1] == np.arange(1, len(one) + 1)).all():
            raise BadInput(f"{path}: the cycles of unit {one[0, 0]:.0f} do not count from 1 on")
        found.append(Unit(int(one[0, 0]), one[:, 2:5].copy(), one[:, 5:].copy()))
    if len({unit.number for unit in found}) != len(found):
        raise BadInput(f"{path}: a unit begins twice")
    return found


def remaining(folder: Path, subset: str, count: int) -> Floats | None:
    """Cycles that each test unit had left, or None where the folder does not say; BadInput unless there are `count`."""
    path = folder / f"RUL_{subset}.txt"
    if not path.exists():
        return None
    found = _numbers(path)[:, 0]
    if len(found) != count:
        raise BadInput(f"{path} has {len(found)} lines for {count} test units")
    return np.asarray(found)


def _numbers(path: Path) -> Floats:
    try:
        lines = path.read_text().splitlines()
        found = np.loadtxt(lines, ndmin=2) if any(map(str.strip, lines)) else np.zeros((0, 0))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from error
    if not found.size or not np.isfinite(found).all():
        raise BadInput(f"{path} has no numbers, or some that are not finite")
    return found
