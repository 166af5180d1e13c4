"""Channels that a site, or an asset from some moment on, sends in another unit than the others.

The level of a channel is the 90 % point of its absolute values, its width the distance from the 5 % to the 95 % point.
Another unit multiplies both; a machine that is larger or runs otherwise rarely does so by ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np

from cloud_trainer.datasets.columns import Table
from cloud_trainer.series import Floats

Told = tuple[Literal["error", "warning"], str, str, str]
_ERROR, _WIDTH, _WARNING = 10.0, 3.0, 4.0
_TINY = 1e-9
_LEAST = 100  # readings of an asset before its level says anything
_BLOCKS, _LEAST_BLOCK, _STEADY = 20, 20, 2.0


class _Size(NamedTuple):
    level: float
    width: float


def units(tables: Mapping[str, Table], channels: tuple[str, ...]) -> Iterator[Told]:
    """Level, check, of what, and words, of each finding."""
    sites: dict[str, list[Table]] = {}
    for key, one in tables.items():
        sites.setdefault(key.partition("/")[0], []).append(one)
    for number, channel in enumerate(channels):
        sizes = {site: size for site, some in sites.items() if (size := _of_site(some, number)) is not None}
        usual = _usual(list(sizes.values()))
        for site, size in sizes.items() if len(sizes) > 1 else ():
            # of three and more the middle one is most sites' unit, of two each is told beside the other
            other = usual if len(sizes) > 2 else _usual([each for name, each in sizes.items() if name != site])
            yield from _apart(f"{site}/{channel}", size, other)
        for key, one in tables.items():
            factor = _jump(one.values[:, number])
            if factor:
                yield "warning", "unit-jump", f"{key}/{channel}", f"from one moment on {factor:.3g} times as high"


def _usual(sizes: list[_Size]) -> _Size:
    if not sizes:
        return _Size(0.0, 0.0)
    return _Size(_middle([each.level for each in sizes]), _middle([each.width for each in sizes]))


def _apart(of: str, size: _Size, others: _Size) -> Iterator[Told]:
    level, width = others
    if min(level, size.level) < _TINY:
        return
    factor = size.level / level
    wider = size.width / max(width, _TINY)
    if factor < 1:
        factor, wider = 1 / factor, 1 / max(wider, _TINY)
    if factor < _WARNING:
        return
    words = f"{size.level:.4g} here, {level:.4g} at the other sites: {size.level / level:.3g} times"
    yield "error" if factor >= _ERROR and wider >= _WIDTH else "warning", "unit", of, words


def _middle(sizes: list[float]) -> float:
    return float(np.exp(np.median(np.log(np.maximum(sizes, _TINY)))))


def _of_site(some: list[Table], number: int) -> _Size | None:
    found = [_size(one.values[:, number]) for one in some]
    sizes = [each for each in found if each is not None]
    if not sizes:
        return None
    return _Size(float(np.median([each.level for each in sizes])), float(np.median([each.width for each in sizes])))


def _size(values: Floats) -> _Size | None:
    values = values[np.isfinite(values)]
    if len(values) < _LEAST:
        return None
    low, high = np.quantile(values, [0.05, 0.95])
    return _Size(float(np.quantile(np.abs(values), 0.9)), float(high - low))


def _jump(values: Floats) -> float:
    """Factor between two parts of the readings, each steady in itself; 0 where there are no two such parts."""
    values = values[np.isfinite(values)]
    if len(values) < _BLOCKS * _LEAST_BLOCK:
        return 0.0
    blocks = values[: len(values) // _BLOCKS * _BLOCKS].reshape(_BLOCKS, -1)  # all at once: there may be many assets
    levels = np.quantile(np.abs(blocks), 0.9, axis=1)
    if levels.min() < _TINY:
        return 0.0
    steps = np.abs(np.diff(np.log(levels)))
    at = int(np.argmax(steps)) + 1
    before, after = levels[:at], levels[at:]
    factor = float(np.median(after) / np.median(before))
    steady = all(part.max() <= _STEADY * part.min() for part in (before, after))
    return factor if steady and max(factor, 1 / factor) >= _ERROR and min(at, _BLOCKS - at) > 1 else 0.0
