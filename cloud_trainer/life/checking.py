"""Data checks of lives: those of every training set, and whether a channel tells how much is left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cloud_trainer.datasets.checks import Finding, Report, examine
from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.life.histories import left_of
from cloud_trainer.life.lives import Lives, check_enough
from cloud_trainer.recipe import Recipe

_SAME = 0.999  # correlation with what is left, over all lives


def fit_to_learn(found: Collected, given: Lives, recipe: Recipe) -> None:
    """GateFailed where there are too few lives or a check refuses them; warnings are logged.

    A channel that only grows is no error here: wear does, and the age of an asset is known to the model anyway.
    """
    check_enough(given)
    clocks = [f"clock:{channel}" for channel in found.channels]
    known = recipe.model_copy(update={"accept": [*recipe.accept, *clocks]})
    first = examine(found.tables(), found.channels, found.labels, known)
    told = [each for each in _tellers(given) if each.name not in recipe.accept]
    report = Report(first.assets, first.readings, first.channels, [*told, *first.findings])
    report.log()
    report.gate()


def _tellers(given: Lives) -> Iterator[Finding]:
    left = np.concatenate([left_of(each) for each in given.fleet.histories])
    for kind in ("settings", "sensors"):
        rows = np.concatenate([getattr(each, kind) for each in given.fleet.histories])
        for number, channel in enumerate(getattr(given.fleet, kind)):
            there = np.isfinite(rows[:, number])
            values = rows[there, number]
            if len(values) > 1 and values.std() > 0 and left[there].std() > 0:
                same = abs(float(np.corrcoef(values, left[there])[0, 1]))
                if same >= _SAME:
                    yield Finding("error", "label", channel, f"it tells what is left of a life: correlation {same:.4f}")
