"""Data checks of lives: those of every training set, and whether a channel tells how much is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cloud_trainer.datasets.checks import Finding, Report, examine
from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.life.histories import Floats, left_of
from cloud_trainer.life.lives import Lives, check_enough, failures
from cloud_trainer.recipe import Recipe

_SAME = 0.999  # correlation
_ALIKE = 0.02  # of what a channel moves by in a life: how far apart its last values are, where they tell the failure
_TIMES = 4.0  # by so much lives' lengths must differ more than that, else they are told by the age alone
_LEAST = 3  # cycles with a value that say how a channel goes


def fit_to_learn(found: Collected, given: Lives, recipe: Recipe) -> None:
    """GateFailed where there are too few lives or a check refuses them; warnings are logged.

    A channel that only grows is no error here: wear does, and the age of an asset is known to the model anyway.
    """
    check_enough(given)
    clocks = [f"clock:{channel}" for channel in found.channels]
    known = recipe.model_copy(update={"accept": [*recipe.accept, *clocks]})
    first = examine(found.tables(), found.channels, found.labels, known, failures(found))
    told = [each for each in _tellers(given) if each.name not in recipe.accept]
    report = Report(first.assets, first.readings, first.channels, [*told, *first.findings])
    report.log()
    report.gate()


def _tellers(given: Lives) -> Iterator[Finding]:
    for kind in ("settings", "sensors"):
        for number, channel in enumerate(getattr(given.fleet, kind)):
            courses = [
                course
                for each in given.fleet.histories
                if len((course := _course(getattr(each, kind)[:, number], left_of(each))).values) >= _LEAST
            ]
            words = _tells(courses) if courses else ""
            if words:
                yield Finding("error", "label", channel, f"it tells what is left of a life: {words}")


class _Course(NamedTuple):
    """A channel in one life: its values, and the cycles that were left then."""

    values: Floats
    left: Floats


def _course(values: Floats, left: Floats) -> _Course:
    there = np.isfinite(values)
    return _Course(values[there], left[there])


def _tells(courses: Sequence[_Course]) -> str:
    """In words how a channel tells what is left, or nothing.

    A counter of cycles goes as straight as a countdown, but each life ends with another count.
    """
    values, left = (np.concatenate([each[number] for each in courses]) for number in range(2))
    if (same := _correlation(values, left)) >= _SAME:
        return f"correlation {same:.4f} over all lives"
    lengths = np.array([1 + each.left[0] for each in courses])
    if (same := _correlation(np.array([each.values[0] for each in courses]), lengths)) >= _SAME:
        return f"its first value tells how long the life lasts, correlation {same:.4f}"
    moves = float(np.median([np.ptp(each.values) for each in courses]))
    apart = float(np.std([each.values[-1] for each in courses]))
    spread = float(np.std(lengths) / np.median(lengths))
    if not moves > 0 or apart > _ALIKE * moves or spread < _TIMES * apart / moves or not spread:
        return ""
    straight = float(np.median([_straight(each) for each in courses]))
    if straight >= _SAME:
        return f"it ends alike in every life, and goes there in a straight line (correlation {straight:.4f})"
    ways = {float(np.sign(step)) for each in courses for step in np.unique(np.sign(np.diff(each.values))) if step}
    return "it ends alike in every life, and only ever goes one way" if len(ways) == 1 else ""


def _straight(one: _Course) -> float:
    """Correlation with what is left, once it leaves the value that it begins with: a countdown may be cut."""
    moved = np.flatnonzero(one.values != one.values[0])
    behind = max(0, moved[0] - 1) if len(moved) else 0
    return _correlation(one.values[behind:], one.left[behind:])


def _correlation(one: Floats, other: Floats) -> float:
    """Of either sign; none where one of both stands still."""
    if len(one) < _LEAST or not (one.std() > 0 and other.std() > 0):
        return 0.0
    return abs(float(np.corrcoef(one, other)[0, 1]))
