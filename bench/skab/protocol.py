"""SKAB's protocol (github.com/waico/SKAB, core/utils.py and core/metrics.py): what is trained on, what is counted.

The first 400 rows of each file train its model, nothing is shuffled, the rest is judged. Hits and misses are summed
over all files before F1 = TP / (TP + (FN + FP) / 2), FAR and MAR in percent are made of them. Changepoints: a window of
60 s to the right of each; NAB's gains (1 for a hit at once, -0.11 for a false one, -1 for a missed one), scaled so that
silence is 0 and perfection 100.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.contract.episodes import Flags, Floats
from headwater.contract.errors import BadInput
from headwater.transport.recordings import Recording, recordings

TRAINED = 400  # rows
_WINDOW_S = 60.0
_FALSE = -0.11
_DETAIL = 1000


class File(NamedTuple):
    """One recording: seconds [n], values [n, channels] with gaps held, labels [n] or None where it has none."""

    name: str
    group: str
    channels: tuple[str, ...]
    t: Floats
    values: Floats
    labels: Flags | None
    changes: Flags

    @property
    def judged(self) -> Flags:
        """Labels of the rows behind those that train; none are abnormal in a recording without labels."""
        found = np.zeros(len(self.t), np.bool_) if self.labels is None else self.labels
        return found[TRAINED:]


class Counts(NamedTuple):
    """Rows: abnormal in alarm, normal in alarm, abnormal without, normal without."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def f1(self) -> float:
        """0 where nothing was found."""
        return self.tp / (self.tp + (self.fn + self.fp) / 2) if self.tp else 0.0

    @property
    def far(self) -> float:
        """Percent of the normal rows that are in alarm."""
        return 100 * self.fp / max(1, self.fp + self.tn)

    @property
    def mar(self) -> float:
        """Percent of the abnormal rows that are not in alarm."""
        return 100 * self.fn / max(1, self.tp + self.fn)


class Nab(NamedTuple):
    """NAB's score of changepoints, false ones, and how many there are."""

    score: float
    false: int
    changes: int


def files(folder: Path) -> list[File]:
    """The recordings of a folder, with labels or without; BadInput when one is too short to be judged."""
    found = [_file(each, folder) for each in recordings(folder)]
    short = [each.name for each in found if len(each.t) <= TRAINED]
    if short:
        raise BadInput(f"{short[0]} has {TRAINED} rows or fewer: nothing is left to judge")
    if len({each.channels for each in found}) > 1:
        raise BadInput(f"the recordings below {folder} are of machines with different channels")
    return found


def _file(one: Recording, folder: Path) -> File:
    values = np.array([[np.nan if v is None else v for v in map(row.values.get, one.channels)] for row in one.rows])
    labels = [row.label for row in one.rows]
    return File(
        one.path.relative_to(folder).with_suffix("").as_posix(),
        one.path.parent.relative_to(folder).as_posix(),
        one.channels,
        np.array([row.t / 1000 for row in one.rows]),
        _held(values),
        None if None in labels else np.array(labels, dtype=np.bool_),
        np.array([bool(row.changepoint) for row in one.rows]),
    )


def _held(values: Floats) -> Floats:
    """Gaps keep the value before them; those at the beginning take the first that came."""
    found = values.copy()
    for channel in found.T:
        there = np.isfinite(channel)
        if not there.any():
            channel[:] = 0.0
            continue
        last = np.maximum.accumulate(np.where(there, np.arange(len(channel)), 0))
        channel[:] = np.where(np.arange(len(channel)) < np.argmax(there), channel[np.argmax(there)], channel[last])
    return found


def count(alarm: Flags, labels: Flags) -> Counts:
    """Of one file."""
    tp, fp = int((alarm & labels).sum()), int((alarm & ~labels).sum())
    return Counts(tp, fp, int(labels.sum()) - tp, int((~labels).sum()) - fp)


def pooled(each: Iterable[Counts]) -> Counts:
    """Of all files."""
    return Counts(*(int(total) for total in np.sum([tuple(one) for one in each] or [(0, 0, 0, 0)], axis=0)))


def episodes(alarm: Flags) -> list[tuple[int, int]]:
    """First row of each run of alarm, and the row behind its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alarm, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def nab(found: Iterable[tuple[Floats, Flags, Flags]]) -> Nab:
    """Of (seconds [n], true changepoints [n], detected ones [n]) by file."""
    x = np.linspace(-np.pi / 2, np.pi / 2, _DETAIL)
    gains = (1 - _FALSE) / 2 * -np.tanh(x) / np.tanh(np.pi / 2) + (1 - _FALSE) / 2 + _FALSE
    score, false, changes = 0.0, 0, 0
    for t, true, detected in found:
        at = t[detected]
        used = np.zeros(len(at), dtype=np.bool_)
        for start, end in _windows(t[true]):
            inside = (at >= start) & (at <= end)
            used |= inside
            changes += 1
            hit = float(at[inside][0]) if inside.any() else None
            place = 0 if hit is None or end <= start else int((hit - start) / (end - start) * _DETAIL)
            score += -1.0 if hit is None else float(gains[min(place, _DETAIL - 1)])
        false += int((~used).sum())
    score += _FALSE * false
    return Nab(100 * (score + changes) / max(1, 2 * changes), false, changes)


def _windows(changes: npt.NDArray[np.float64]) -> Iterator[tuple[float, float]]:
    """Of two that overlap the right one begins where the left one ends."""
    free = -np.inf
    for start in changes.tolist():
        begin = max(start, free)
        free = start + _WINDOW_S
        yield begin, free
