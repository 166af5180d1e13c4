"""Champion against challenger on the same readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from cloud_trainer.datasets.checks import Finding
from cloud_trainer.judging import counts
from cloud_trainer.judging.counts import (
    BOUNDS,
    COLUMNS,
    COUNTED,
    FALSE_ALARMS,
    FIGURES,
    LABELLED,
    LEAST_ASSETS,
    ROWS,
    Blocks,
)
from cloud_trainer.judging.decision import Decision, Figure, Part, decide, party
from cloud_trainer.judging.intervals import difference_of, interval, spread_of, student, symmetric
from cloud_trainer.judging.material import UNKNOWN, Material, Truth
from cloud_trainer.judging.seen import trained_on
from cloud_trainer.judging.verdicts import Judge, Mask, Verdicts
from cloud_trainer.series import Floats, Ints
from cloud_trainer.tracing.models import Model
from headwater.contract.errors import BadInput, GateFailed
from headwater.transport.code_version import code_version

Tell = Callable[[int], None]
CONFIDENCE = 0.95
_BLOCK_WINDOWS = 10  # lengths of the longer window in a block
_LEAST_BLOCKS = 8
_MOST_ASSETS = 500  # in a decision, those that differ most: it must fit into a record
_THIRDS = ("low", "middle", "high")
_MOST_CHANNELS = 12
_MOST_NOTES = 10


@dataclass(frozen=True)
class _Judged:
    """One asset: what both said of its readings, and which of these count."""

    key: str
    truth: Truth
    t: Ints
    both: tuple[Verdicts, Verdicts]
    use: Mask
    thirds: Mapping[str, Ints]  # by channel: 0 low, 1 middle, 2 high, -1 missing


@dataclass(frozen=True)
class Compared:
    """The decision, and the sums of both models [2, COLUMNS] for their curves."""

    decision: Decision
    sums: Floats


def compare(
    champion: Model,
    challenger: Model,
    material: Material,
    *,
    in_parts: bool = True,
    tell: Callable[[int], None] = lambda _: None,
) -> Compared:
    """Judge both on the readings that both have a verdict on; `tell` gets the number of assets that are done.

    Without `in_parts` assets and slices are not told apart, which takes most of the time. BadInput where they are of
    different classes, or lack a channel; GateFailed where the range is too short.
    """
    if champion.manifest.asset_class != challenger.manifest.asset_class:
        raise BadInput(f"{champion.name} and {challenger.name} are of different classes")
    for model in (champion, challenger):
        if model.manifest.life is not msgspec.UNSET:
            raise BadInput(f"{model.name} says what remains of a life, and the other one finds anomalies")
    judged = _judge(champion, challenger, material, tell)
    block = _BLOCK_WINDOWS * max(m.manifest.features.window for m in (champion, challenger))
    blocks = _blocks(judged, block, lambda one: one.use)
    if len(blocks.asset) < _LEAST_BLOCKS:
        raise GateFailed(
            f"{len(blocks.asset)} blocks of {block} readings that both models judge, {_LEAST_BLOCKS} are needed",
            hint="name a longer range, or one that is not all gaps",
        )
    parts = _parts(judged, blocks, block, _main(material)) if in_parts else ([], [])
    decision = _decided(champion, challenger, material, blocks, block, parts)
    notes = [f"{one.name}: {one.detail}" for one in _found(champion, challenger, material, "warning")[:_MOST_NOTES]]
    notes = [*_notes(judged), *notes]
    return Compared(msgspec.structs.replace(decision, notes=notes), blocks.counts.sum(axis=0))


def _found(champion: Model, challenger: Model, material: Material, level: str) -> list[Finding]:
    """What the data checks found of times, and of channels that one of both takes."""
    taken = {channel for one in (champion, challenger) for channel in one.manifest.features.channels}
    return [
        each
        for each in material.findings
        if each.level == level and (each.check.startswith("time-") or each.of.rpartition("/")[2] in taken)
    ]


def _main(material: Material) -> str:
    return "f1" if material.is_labelled else "alarms_per_week"


def _decided(
    champion: Model,
    challenger: Model,
    material: Material,
    blocks: Blocks,
    block: int,
    parts: tuple[list[Part], list[Part]],
) -> Decision:
    labelled, main, (assets, slices) = material.is_labelled, _main(material), parts
    names = [n for n in FIGURES if labelled or n not in LABELLED]
    guards = [n for n in names if n in FALSE_ALARMS]  # these machines are enough to keep a model out
    figures = {**figures_of(blocks, names), **figures_of(blocks.of_these(), guards)}
    doubts = trained_on((("champion", champion), ("challenger", challenger)), material)
    doubts += [f"{each.name} ({each.detail})" for each in _found(champion, challenger, material, "error")]
    count = len(np.unique(blocks.asset))
    if count < LEAST_ASSETS:
        doubts.append(f"on these {count} assets only: fewer than {LEAST_ASSETS} say nothing of others")
    verdict, reasons = decide(main, figures, [*assets, *slices] if labelled else [], doubts, is_labelled=labelled)
    return Decision(
        asset_class=champion.manifest.asset_class,
        champion=party(champion),
        challenger=party(challenger),
        dataset=material.learn.source,
        labels_sha256=material.labels_sha256,
        readings=int(blocks.counts[:, 0, ROWS].sum()),
        blocks=len(blocks.asset),
        block_readings=block,
        units=blocks.drawn,
        confidence=CONFIDENCE,
        main=main,
        figures=figures,
        assets=sorted(assets, key=_differs, reverse=True)[:_MOST_ASSETS],
        slices=slices,
        verdict=verdict,
        reasons=reasons,
        code=code_version(),
        decided_at=int(time.time() * 1000),
    )


def _judge(champion: Model, challenger: Model, material: Material, tell: Callable[[int], None]) -> list[_Judged]:
    judges = [Judge(one.manifest, one.data) for one in (champion, challenger)]
    labelled, given = material.is_labelled, material.learn.channels
    thirds = _thirds(material, champion)
    found = []
    for number, (key, series) in enumerate(material.learn.series.items(), start=1):
        truth = material.truth[key]
        each = [judge.of(key, series, given, material.before.get(key)) for judge in judges]
        watched = max(one.watched_ms for one in each)  # the same time under watch for both
        both = (replace(each[0], watched_ms=watched), replace(each[1], watched_ms=watched))
        use = both[0].known & both[1].known & ((truth != UNKNOWN) | (not labelled))
        found.append(_Judged(key, truth, series.t, both, use, thirds[key]))
        tell(number)
    return found


def _notes(judged: list[_Judged]) -> list[str]:
    """What both were spared."""
    found = []
    for m, role in enumerate(("champion", "challenger")):
        cold = [one.both[m].cold for one in judged if one.both[m].cold]
        if cold:
            found.append(
                f"{len(cold)} of {len(judged)} assets begin outside the limits of the {role}: at the edge it has "
                f"followed them there, so that its first {max(cold)} windows of these are not judged"
            )
    return found


def _thirds(material: Material, champion: Model) -> dict[str, dict[str, Ints]]:
    """Of each reading, in which third of its channel it lies: of all assets together, each in its own scale."""
    spec, given = champion.manifest.features, material.learn.channels
    found: dict[str, dict[str, Ints]] = {key: {} for key in material.learn.series}
    for channel in spec.channels[:_MOST_CHANNELS]:
        if channel not in given:
            continue
        own, column = spec.channels.index(channel), given.index(channel)
        scaled = {}
        for key, series in material.learn.series.items():
            scaling = spec.scaling_of(key)
            scaled[key] = (series.values[:, column] - scaling.centre[own]) / scaling.scale[own]
        every = np.concatenate(list(scaled.values()))
        finite = every[np.isfinite(every)]
        if len(finite):
            edges = np.quantile(finite, [1 / 3, 2 / 3])
            for key, values in scaled.items():
                number = np.searchsorted(edges, values, side="right")
                found[key][channel] = np.where(np.isfinite(values), number, -1).astype(np.int64)
    return found


def _blocks(judged: list[_Judged], block: int, use: Callable[[_Judged], Mask]) -> Blocks:
    """Counts of the readings that `use` names, by blocks of those that both models judged."""
    edges = [counts.edges_of(np.concatenate([one.both[m].level[one.use] for one in judged])) for m in (0, 1)]
    assets, found = [], []
    for number, one in enumerate(judged):
        common, mine = np.flatnonzero(one.use), use(one)
        if not len(common):
            continue
        of_row = np.arange(len(common)) // block
        total = int(of_row[-1]) + 1
        table = np.zeros((total, 2, COLUMNS))
        for m, verdicts in enumerate(one.both):
            rows = counts.contributions(one.truth, one.t, verdicts, mine)[common]
            np.add.at(table[:, m, :COUNTED], of_row, rows)
            truth = np.where(mine, one.truth, UNKNOWN).astype(np.int8)[common]
            level = verdicts.level[common]
            table[:, m, COUNTED:] = counts.levels_by_block(truth, level, edges[m], of_row, total)
        assets += [number] * total
        found.append(table)
    return Blocks(np.array(assets, np.int64), np.concatenate(found) if found else np.zeros((0, 2, COLUMNS)))


def figures_of(blocks: Blocks, names: list[str], parts: int | None = None) -> dict[str, Figure]:
    """Figures with intervals, of two models; `parts`: of how many parts that are looked at this one is.

    The whole range asks what happens on machines like these: with LEAST_ASSETS or more their differences count, with
    fewer those of blocks, which are of these machines only. A part asks about its own blocks.
    """
    table = blocks.units() if parts is None else blocks.counts
    table = table[table[:, 0, ROWS] > 0][..., : COLUMNS if "average_precision" in names else COUNTED]
    confidence = 1 - (1 - CONFIDENCE) / (parts or 1)  # Bonferroni: one of many is below by chance alone
    width = student(len(table), confidence) if parts is None else symmetric(len(table), confidence)
    return {name: _figure(name, table, width) for name in names}


def _figure(name: str, table: Floats, width: float | None) -> Figure:
    values, errors = (each.tolist() for each in spread_of(FIGURES[name], table))
    champion, challenger = (interval(values[m], errors[m], width, BOUNDS[name]) for m in (0, 1))
    more, error = difference_of(FIGURES[name], table)
    shown, most = [_number(value) for value in (*values, more)], BOUNDS[name][1]
    return Figure(shown[0], shown[1], champion, challenger, shown[2], interval(more, error, width, (-most, most)))


def _differs(part: Part) -> float:
    return abs(part.figure.difference or 0.0)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _parts(judged: list[_Judged], blocks: Blocks, block: int, main: str) -> tuple[list[Part], list[Part]]:
    """The main figure by asset, and by third of each channel; intervals are as wide as their number asks for."""
    channels = sorted({channel for one in judged for channel in one.thirds})
    count = len(judged) + len(channels) * len(_THIRDS)

    def part(name: str, mine: Blocks, readings: int) -> Part:
        return Part(name, readings, figures_of(mine, [main], count)[main])

    assets = [
        part(one.key, blocks.of(number), int(one.use.sum())) for number, one in enumerate(judged) if one.use.any()
    ]
    slices = []
    for channel in channels:
        for number, name in enumerate(_THIRDS):

            def inside(one: _Judged, channel: str = channel, number: int = number) -> Mask:
                return np.asarray(one.use & (one.thirds[channel] == number))

            readings = sum(int(inside(one).sum()) for one in judged if channel in one.thirds)
            slices.append(part(f"{channel} {name}", _blocks(judged, block, inside), readings))
    return assets, slices
