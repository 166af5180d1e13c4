"""Learns what features with memory need: regimes, scales, and the map from noisy sensors to few quiet latents.

1. Regimes: settings are divided by their span, and gathered around centres that lie apart (`_APART` in some setting);
   where that would be more than `_MOST` the settings say nothing that can be told apart, and there is one regime.
   Without settings there is one. One of fewer than `_FEWEST` cycles is none: these go to the nearest of the others.
2. Scale: mean and standard deviation of each sensor within its regime. Sensors that stand still in any are left out.
3. Map: within a regime, ridge regression from the sensors of one cycle to the mean of the cycles around it without
   itself: what the neighbours agree about is signal, and the noise of the cycle has no part in it. The training needs
   the cycles that follow; the map that it learns does not.
4. Latents: the directions in which the estimates of 3. vary most (singular value decomposition), each in units of its
   own standard deviation.
5. Heed: ridge regression draws the estimates of a noisy regime together, and what is left of their noise differs from
   regime to regime. So each regime's latents are stretched until they follow the mean of the cycles around them one to
   one, and count by the inverse of the variance that they then have about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cloud_trainer.life.histories import Fleet, Floats, History
from headwater.contract.errors import GateFailed
from headwater.contract.memory import MemorySpec, Regime

Numbers = npt.NDArray[np.int64]

_APART = 0.15
_MOST = 12
_LOOKED_AT = 5_000  # rows for the first centres
_ROUNDS = 5
_FEWEST = 30  # cycles in a regime: what a mean, a scale and a map are learned from
_STILL = 1e-6  # of the mean: what rounding leaves. A governed shaft moves by 3e-5 of its speed, and that says much
_NEAR = 20  # cycles on each side
_RIDGE = 0.01
_CLIP = 6.0
_LEAST = 0.05  # of what the cycles around move by: a regime whose latents follow them less is not stretched more


def learn(fleet: Fleet, *, latents: int, is_lifelong: bool) -> MemorySpec:
    """The specification for assets of this kind; GateFailed where too few sensors move."""
    histories = fleet.histories
    every_setting = np.concatenate([each.settings for each in histories])
    spans = np.ptp(every_setting, axis=0)
    spans[spans == 0] = 1.0
    centres = _centres(every_setting / spans)
    regimes = [_nearest(each.settings / spans, centres) for each in histories]
    moving, mean, scale = _scales(histories, regimes, len(centres))
    if moving.sum() < latents:
        raise GateFailed(f"{moving.sum()} sensors move, {latents} latents are asked for")
    scaled = [
        np.clip((each.sensors[:, moving] - mean[regime]) / scale[regime], -_CLIP, _CLIP)
        for each, regime in zip(histories, regimes, strict=True)
    ]
    maps = _maps(scaled, regimes, len(centres), latents)
    heeds: list[tuple[float, ...]] = [()]
    if len(centres) > 1:
        maps, heeds = _stretched(scaled, regimes, maps)
    return MemorySpec(
        fleet.settings,
        tuple(name for name, moves in zip(fleet.sensors, moving, strict=True) if moves),
        tuple(spans.tolist()),
        tuple(
            Regime(_row(centre * spans), _row(m), _row(s), tuple(map(_row, each)), heed)
            for centre, m, s, each, heed in zip(centres, mean, scale, maps, heeds, strict=True)
        ),
        clip=_CLIP,
        is_lifelong=is_lifelong,
    )


def _row(values: Floats) -> tuple[float, ...]:
    return tuple(values.tolist())


def _centres(settings: Floats) -> Floats:
    if not settings.shape[1]:
        return np.zeros((1, 0))
    found: list[Floats] = []
    for row in settings[:: max(1, len(settings) // _LOOKED_AT)]:
        if all(np.abs(row - centre).max() >= _APART for centre in found):
            found.append(row)
        if len(found) > _MOST:
            return np.asarray(settings.mean(axis=0, keepdims=True))
    centres = np.array(found)
    for _ in range(_ROUNDS):
        near = _nearest(settings, centres)
        centres = np.array([settings[near == number].mean(axis=0) for number in np.unique(near)])
    return _filled(settings, centres)


def _filled(settings: Floats, centres: Floats) -> Floats:
    """Those that are nearest to enough rows, the emptiest left out first, for its rows go to another; one at least."""
    while len(centres) > 1:
        counts = np.bincount(_nearest(settings, centres), minlength=len(centres))
        if counts.min() >= _FEWEST:
            break
        centres = np.delete(centres, counts.argmin(), axis=0)
    return centres


def _nearest(settings: Floats, centres: Floats) -> Numbers:
    far = settings[:, None] - centres
    return np.asarray(np.argmin((far * far).sum(axis=2), axis=1))


def _scales(histories: Sequence[History], regimes: Sequence[Numbers], count: int) -> tuple[Floats, Floats, Floats]:
    sensors, regime = np.concatenate([each.sensors for each in histories]), np.concatenate(regimes)
    mean = np.array([np.nanmean(sensors[regime == number], axis=0) for number in range(count)])
    scale = np.array([np.nanstd(sensors[regime == number], axis=0) for number in range(count)])
    moving = (scale > _STILL * np.maximum(1e-9, np.abs(mean))).all(axis=0)
    return moving, mean[:, moving], scale[:, moving]


def _maps(scaled: Sequence[Floats], regimes: Sequence[Numbers], count: int, latents: int) -> list[Floats]:
    rows, regime = np.nan_to_num(np.concatenate(scaled)), np.concatenate(regimes)
    around = np.concatenate([_around(np.nan_to_num(each)) for each in scaled])
    maps, estimates = [], np.zeros_like(around)
    for number in range(count):
        inside = regime == number
        x = rows[inside]
        gram = x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1])
        maps.append(np.linalg.solve(gram, x.T @ around[inside]))
        estimates[inside] = x @ maps[-1]
    _, _, directions = np.linalg.svd(estimates.T @ estimates)
    chosen = directions[:latents].T
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(latents)])
    width = (estimates @ chosen).std(axis=0)
    return [each @ chosen / width for each in maps]


def _stretched(
    scaled: Sequence[Floats], regimes: Sequence[Numbers], maps: Sequence[Floats]
) -> tuple[list[Floats], list[tuple[float, ...]]]:
    """Maps and heeds by regime (5. above); heeds have a mean of one."""
    by_regime = np.array(maps)
    latents = [
        (np.nan_to_num(rows)[:, :, None] * by_regime[regime]).sum(axis=1)
        for rows, regime in zip(scaled, regimes, strict=True)
    ]
    every, around = np.concatenate(latents), np.concatenate([_around(each) for each in latents])
    regime = np.concatenate(regimes)
    stretched, heeds = [], []
    for number, one in enumerate(maps):
        inside = regime == number
        x, y = (part[inside] - part[inside].mean(axis=0) for part in (around, every))
        follows = np.maximum(_LEAST, (x * y).sum(axis=0) / np.maximum((x * x).sum(axis=0), 1e-12))
        off = y / follows - x
        stretched.append(one / follows)
        heeds.append(1 / np.maximum((off * off).mean(axis=0), 1e-12))
    mean = np.mean(heeds, axis=0)
    return stretched, [_row(each / mean) for each in heeds]


def _around(rows: Floats) -> Floats:
    """The mean of up to `_NEAR` rows on each side, without the row itself; zero for a row that is alone."""
    sums = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    place = np.arange(len(rows))
    first, behind = np.maximum(0, place - _NEAR), np.minimum(len(rows), place + _NEAR + 1)
    others = np.maximum(1, behind - first - 1)[:, None]
    return np.asarray((sums[behind] - sums[first] - rows) / others)
