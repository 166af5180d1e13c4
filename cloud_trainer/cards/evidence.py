"""What one model says of readings, counted as the judge counts, and how far these readings are from its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cloud_trainer.judging import counts
from cloud_trainer.judging.compare import CONFIDENCE
from cloud_trainer.judging.counts import BOUNDS, COLUMNS, COUNTED, FALSE_ALARMS, FIGURES, LABELLED, Blocks
from cloud_trainer.judging.intervals import interval, spread_of, student
from cloud_trainer.judging.material import UNKNOWN, Material, Truth
from cloud_trainer.judging.verdicts import Judge, Mask, Verdicts
from cloud_trainer.series import Floats, Ints, Series
from cloud_trainer.tracing.models import Model
from headwater.contract.sketches import Channel, channel_of, merged, psi

_MOST_TIMES = 24  # parts of a recording that drift is told of
_LEAST_OF_TIME = 500  # readings of an asset in a part: shorter ones show the load of the hour, and no drift
_BLOCK_WINDOWS = 10
_LEAST_BLOCKS = 8
_FIRST_SHARE = 0.2  # of each asset, that drift is measured from where the manifest has no reference


@dataclass(frozen=True)
class Watched:
    """One asset: its readings, what is known of them, and the model's verdicts."""

    key: str
    series: Series
    truth: Truth
    verdicts: Verdicts
    use: Mask  # readings that count: with a verdict, and where there are labels with one of these


@dataclass(frozen=True)
class Drift:
    """PSI of each channel [channels, times] over the length of the recordings, NaN where nothing was read."""

    channels: tuple[str, ...]
    psi: Floats
    reference: str  # what it is measured from
    outside: dict[str, float]  # by channel, share of readings beyond three scales of the centre


@dataclass(frozen=True)
class Evidence:
    """Everything that a card shows of one model on one range."""

    model: Model
    material: Material
    assets: list[Watched]
    figures: dict[str, tuple[float | None, tuple[float, float] | None]]
    units: str  # whose differences make the intervals, but for those of false alarms
    sums: Floats  # [COLUMNS]
    alarms: int
    alarms_known: int  # of which a label says whether they were right
    drift: Drift


def gather(model: Model, material: Material, tell: Callable[[int], None] = lambda _: None) -> Evidence:
    """Run a model over readings; BadInput where it lacks a channel. `tell` gets the number of assets that are done."""
    judge, labelled = Judge(model.manifest, model.data), material.is_labelled
    assets = []
    for number, (key, series) in enumerate(material.learn.series.items(), start=1):
        verdicts = judge.of(key, series, material.learn.channels, material.before.get(key))
        truth = material.truth[key]
        assets.append(Watched(key, series, truth, verdicts, verdicts.known & ((truth != UNKNOWN) | (not labelled))))
        tell(number)
    blocks = _blocks(assets, _BLOCK_WINDOWS * model.manifest.features.window)
    sums = blocks.counts.sum(axis=0)
    names = [name for name in FIGURES if labelled or name not in LABELLED]
    alarms, known = _alarms(assets)
    return Evidence(
        model,
        material,
        assets,
        _figures(blocks, names),
        blocks.drawn,
        sums[0],
        alarms,
        known,
        _drift(model, material, assets),
    )


def _blocks(assets: list[Watched], block: int) -> Blocks:
    edges = counts.edges_of(np.concatenate([np.zeros(0), *(one.verdicts.level[one.use] for one in assets)]))
    owners: list[int] = []
    found = []
    for number, one in enumerate(assets):
        common = np.flatnonzero(one.use)
        if not len(common):
            continue
        of_row = np.arange(len(common)) // block
        total = int(of_row[-1]) + 1
        table = np.zeros((total, 1, COLUMNS))
        rows = counts.contributions(one.truth, one.series.t, one.verdicts, one.use)[common]
        np.add.at(table[:, 0, :COUNTED], of_row, rows)
        level = one.verdicts.level[common]
        table[:, 0, COUNTED:] = counts.levels_by_block(one.truth[common], level, edges, of_row, total)
        owners += [number] * total
        found.append(table)
    return Blocks(np.array(owners, np.int64), np.concatenate(found) if found else np.zeros((0, 1, COLUMNS)))


def _figures(blocks: Blocks, names: list[str]) -> dict[str, tuple[float | None, tuple[float, float] | None]]:
    """As the judge's: false alarms of these assets, by blocks; all else of assets like them, where there are enough."""
    enough = len(blocks.asset) >= _LEAST_BLOCKS
    found: dict[str, tuple[float | None, tuple[float, float] | None]] = {}
    for name in names:
        units = (blocks.of_these() if name in FALSE_ALARMS else blocks).units()
        width = student(len(units), CONFIDENCE) if enough else None
        values, errors = spread_of(FIGURES[name], units)
        value, error = float(values[0]), float(errors[0])
        found[name] = (value if np.isfinite(value) else None, interval(value, error, width, BOUNDS[name]))
    return found


def _alarms(assets: list[Watched]) -> tuple[int, int]:
    """Episodes, and those of which something is known."""
    total = known = 0
    for one in assets:
        for start, end in counts.episodes(one.verdicts):
            total += 1
            known += bool((one.truth[start:end] != UNKNOWN).any())
    return total, known


def thirds(one: Watched, model: Model, given: tuple[str, ...], channel: str) -> Ints:
    """In which part of a channel's usual range each reading is: 0 low, 1 middle, 2 high, -1 missing.

    Usual is what the model was trained on: the middle part of a normal variable reaches to 0.43 scales either way.
    """
    z = _scaled(one, model, given, channel)
    return np.where(np.isfinite(z), np.searchsorted((-0.43, 0.43), z, side="right"), -1).astype(np.int64)


def _scaled(one: Watched, model: Model, given: tuple[str, ...], channel: str) -> Floats:
    spec = model.manifest.features
    scaling, own = spec.scaling_of(one.key), spec.channels.index(channel)
    values = one.series.values[:, given.index(channel)]
    return np.asarray((values - scaling.centre[own]) / scaling.scale[own])


def _drift(model: Model, material: Material, assets: list[Watched]) -> Drift:
    """Each recording in as many parts of time, and the readings of all assets merged, part by part."""
    channels, given = model.manifest.features.channels, material.learn.channels
    recorded = model.manifest.metrics.get("reference") or {}
    rows = int(np.median([len(one.series) for one in assets])) if assets else 0
    times = min(_MOST_TIMES, max(2, rows // _LEAST_OF_TIME))
    found = np.full((len(channels), times), np.nan)
    outside = {}
    for row, channel in enumerate(channels):
        scaled = [_scaled(one, model, given, channel) for one in assets]
        reference = recorded.get(channel) or _first(scaled).bins
        whole = merged(channel_of(z) for z in scaled)
        outside[channel] = (whole.bins[0] + whole.bins[-1]) / max(1, whole.count)
        for block in range(times):
            part = merged(channel_of(np.array_split(z, times)[block]) for z in scaled)
            if part.count:
                found[row, block] = psi(reference, part.bins)
    said = "its training" if recorded else f"the first {_FIRST_SHARE:.0%} of each recording"
    return Drift(channels, found, said, outside)


def _first(scaled: list[Floats]) -> Channel:
    return merged(channel_of(z[: max(1, int(len(z) * _FIRST_SHARE))]) for z in scaled)
