"""Champion against challenger on the same lives: who says best how much of them was left.

What is compared is the root of the mean squared error over all cycles, with what was left cut to where both tell lives
apart. A unit is an asset with all its lives: they are what is drawn anew when the question is asked again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from cloud_trainer.judging.compare import CONFIDENCE
from cloud_trainer.judging.counts import LEAST_ASSETS
from cloud_trainer.judging.decision import Decision, Figure, Part, Verdict, party
from cloud_trainer.judging.intervals import difference_of, interval, spread_of, student
from cloud_trainer.judging.material import Material
from cloud_trainer.judging.seen import trained_on
from cloud_trainer.life.histories import Floats, left_of, vectors
from cloud_trainer.life.lives import Lives
from cloud_trainer.series import TrainingSet
from cloud_trainer.tracing.models import Model
from headwater.contract.errors import BadInput, GateFailed
from headwater.contract.life import LifeSpec
from headwater.contract.memory import MemorySpec
from headwater.transport import tflite
from headwater.transport.code_version import code_version

_SQUARES, _CYCLES, _HELD, _WIDTH = range(4)
_MOST_ASSETS = 500
_FIGURES: Mapping[str, Callable[[Floats], Floats]] = {
    "rmse": lambda s: np.sqrt(s[..., _SQUARES] / s[..., _CYCLES]),
    "coverage": lambda s: s[..., _HELD] / s[..., _CYCLES],
    "width": lambda s: s[..., _WIDTH] / s[..., _CYCLES],
}


def parts_of(model: Model) -> tuple[MemorySpec, LifeSpec]:
    """Features and promise of a model of remaining life; BadInput for any other."""
    memory, life = model.manifest.features.memory, model.manifest.life
    if memory is msgspec.UNSET or life is msgspec.UNSET:
        raise BadInput(f"{model.name} says nothing of remaining life", hint="compare models of one kind")
    return memory, life


def settings_of(*models: Model) -> tuple[str, ...]:
    """The settings that any of these needs."""
    return tuple(dict.fromkeys(name for model in models for name in parts_of(model)[0].settings))


def said(model: Model, given: Lives) -> list[tuple[Floats, Floats, Floats]]:
    """Of each life what the model says of each cycle by the runtime installed here: remaining, low and high."""
    memory, life = parts_of(model)
    network, found = tflite.Model(model.data), []
    for rows in vectors(memory, given.fleet):
        remaining = life.remaining(network.score(rows)[0].astype(np.float64))
        found.append((remaining, *life.of(remaining)))
    return found


def compare(champion: Model, challenger: Model, given: Lives) -> Decision:
    """Judge both on lives that ended with a failure; BadInput where one says nothing of remaining life."""
    if champion.manifest.asset_class != challenger.manifest.asset_class:
        raise BadInput(f"{champion.name} and {challenger.name} are of different classes")
    promises = [parts_of(model)[1] for model in (champion, challenger)]
    if not given.names:
        raise GateFailed("no life in this range ended with a failure", hint="name a longer range")
    sums = _sums((champion, challenger), given, min(each.most for each in promises))
    owners = np.array(given.fleet.owner_of)
    numbers = np.unique(owners)
    units = np.array([sums[owners == number].sum(axis=0) for number in numbers])
    figures = {name: _figure(name, units) for name in _FIGURES}
    doubts = _doubts(champion, challenger, given)
    if len(units) < LEAST_ASSETS:
        doubts.append(f"on these {len(units)} assets only: fewer than {LEAST_ASSETS} say nothing of others")
    verdict, reasons = decide(figures, promises[1].promised, doubts)
    parts = [
        Part(name, int(one[0, _CYCLES]), _figure("rmse", one[None]))
        for name, one in zip(_names(given, numbers), units, strict=True)
    ]
    return Decision(
        asset_class=champion.manifest.asset_class,
        champion=party(champion),
        challenger=party(challenger),
        dataset=given.source,
        labels_sha256="",
        readings=int(units[:, 0, _CYCLES].sum()),
        blocks=len(given.names),
        block_readings=0,
        units="assets",
        confidence=CONFIDENCE,
        main="rmse",
        figures=figures,
        assets=sorted(parts, key=lambda part: abs(part.figure.difference or 0.0), reverse=True)[:_MOST_ASSETS],
        slices=[],
        verdict=verdict,
        reasons=reasons,
        code=code_version(),
        decided_at=int(time.time() * 1000),
    )


def decide(figures: dict[str, Figure], promised: float, doubts: list[str]) -> tuple[Verdict, list[str]]:
    """`promote` only where the challenger is off by less beyond chance and keeps what its intervals promise."""
    within = figures["rmse"].difference_interval
    if within is None:
        return "undecided", ["one asset says nothing of others", *doubts]
    low, high = within
    words = f"rmse differs by {figures['rmse'].difference:+.3g} cycles ({low:+.3g} to {high:+.3g})"
    if low > 0:
        return "keep", [f"{words}: worse beyond chance", *doubts]
    if high >= 0:
        return "undecided", [f"{words}: chance explains it", *doubts]
    held = figures["coverage"].challenger_interval
    if held is not None and held[1] < promised:
        doubts = [f"its intervals hold {figures['coverage'].challenger:.0%}, {promised:.0%} are promised", *doubts]
    return ("undecided" if doubts else "promote"), [f"{words}: better beyond chance", *doubts]


def _sums(models: tuple[Model, Model], given: Lives, most: float) -> Floats:
    """Sums over the cycles of each life [lives, 2, 4]."""
    found = np.zeros((len(given.names), 2, 4))
    for number, model in enumerate(models):
        for life, (history, told) in enumerate(zip(given.fleet.histories, said(model, given), strict=True)):
            remaining, low, high = (np.minimum(each, most) for each in told)
            truth = np.minimum(left_of(history), most)
            held = (low <= truth) & (truth <= high)
            columns = ((remaining - truth) ** 2, np.ones(len(truth)), held, high - low)
            found[life, number] = [float(each.sum()) for each in columns]
    return found


def _figure(name: str, units: Floats) -> Figure:
    """A figure of both models; one asset has no spread, and no interval."""
    statistic = _FIGURES[name]
    if len(units) < 2:
        one, two = statistic(units[0]).tolist()
        return Figure(one, two, None, None, two - one, None)
    width = student(len(units), CONFIDENCE)
    (one, two), (first, second) = (each.tolist() for each in spread_of(statistic, units))
    more, error = difference_of(statistic, units)
    most = 1.0 if name == "coverage" else math.inf  # a share is at most all
    return Figure(
        one,
        two,
        interval(one, first, width, (0.0, most)),
        interval(two, second, width, (0.0, most)),
        more,
        interval(more, error, width, (-most, most)),
    )


def _names(given: Lives, numbers: Floats) -> list[str]:
    owners = given.fleet.owner_of
    return [given.names[owners.index(number)].partition("#")[0] for number in numbers.tolist()]


def _doubts(champion: Model, challenger: Model, given: Lives) -> list[str]:
    nothing = Material(TrainingSet(given.asset_class, (), {}, given.source), {}, "")
    return trained_on((("champion", champion), ("challenger", challenger)), nothing)
