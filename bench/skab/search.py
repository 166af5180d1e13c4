"""The search over settings, and what it is worth on files that it has not seen.

The whole search runs again in every fold: each setting is judged on the files that the fold may see, the best of them
is taken, and counted on the others. Which rows are in alarm does not depend on the fold, so each file is run once.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from bench.skab.detector import Setting, trace
from bench.skab.protocol import Counts, File, count, pooled
from headwater.contract.episodes import EpisodeRule, Flags

WINDOWS = (6, 8, 10, 12)
SPACE: dict[str, tuple[float, ...]] = {
    "margin": (1.5, 1.75, 2.0, 2.25, 2.5),
    "onset": (1, 2, 3, 5),
    "follow": (0.001, 0.002, 0.005),
    "level": (0.5, 0.7, 0.9),
    "share": (0.1, 0.2, 0.3, 0.4),
    "recovery": (5, 10, 15, 20),
    "longest": (500, 600),
}
BEARABLE = 8.0  # percent of normal rows in alarm, above which a point costs as much as one of F1


class Searched(NamedTuple):
    """What each setting does to each file [settings, files, 4]."""

    settings: list[Setting]
    counts: npt.NDArray[np.int64]


def settings(number: int, seed: int) -> list[Setting]:
    """So many drawn from the space; the defaults have no place of their own among them."""
    dice = random.Random(seed)
    size = len(WINDOWS) * int(np.prod([len(values) for values in SPACE.values()]))
    drawn = dice.sample(range(size), min(size, number))
    grid = list(itertools.product(WINDOWS, *SPACE.values()))
    return [_setting(grid[place]) for place in drawn]


def _setting(point: tuple[float, ...]) -> Setting:
    values = dict(zip(SPACE, point[1:], strict=True))
    return Setting(int(point[0]), msgspec.convert(values, EpisodeRule))


def run(files: Sequence[File], channels: Flags, tried: list[Setting], workers: int) -> Searched:
    """Every file under every setting."""
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        found = pool.map(_of_file, files, itertools.repeat(channels), itertools.repeat(tried))
        return Searched(tried, np.stack(list(found), axis=1))


def _of_file(file: File, channels: Flags, tried: list[Setting]) -> npt.NDArray[np.int64]:
    alarms = trace(file.values[:, channels], tried).alarm
    return np.array([count(alarm, file.judged) for alarm in alarms.T], dtype=np.int64)


def best(searched: Searched, seen: npt.NDArray[np.int64]) -> int:
    """The setting with the highest F1 on the files `seen`, less what false alarms above the bearable cost."""

    def worth(number: int) -> float:
        counts = pooled(Counts(*row) for row in searched.counts[number, seen])
        return counts.f1 - max(0.0, counts.far - BEARABLE) / 100

    return max(range(len(searched.settings)), key=worth)


def leave_one_out(searched: Searched) -> Counts:
    """Each file under the setting that the others choose."""
    all_files = np.arange(searched.counts.shape[1])
    return pooled(Counts(*searched.counts[best(searched, np.delete(all_files, n)), n]) for n in all_files)


def across(searched: Searched, groups: Sequence[str]) -> Counts | None:
    """Each group under the setting that the others choose; None where there is one group."""
    names = np.array(groups)
    if len(set(groups)) < 2:
        return None
    found = []
    for group in dict.fromkeys(groups):
        number = best(searched, np.flatnonzero(names != group))
        found += [Counts(*row) for row in searched.counts[number, np.flatnonzero(names == group)]]
    return pooled(found)
