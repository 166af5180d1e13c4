"""What `headwater train run` makes of these recordings, judged as the edge would: nothing here decides anything.

All files are machines of one class. Each gives its training rows; the model is trained, and its limits and margin are
calibrated, by the product. Then every file is played to its end through the model and what follows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from bench.skab.protocol import TRAINED, Counts, File, count, pooled
from cloud_trainer.judging.verdicts import Judge
from cloud_trainer.making import make, make_manifest
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import Series, TrainingSet
from headwater.contract.canonical import sha256
from headwater.contract.episodes import Flags
from headwater.contract.errors import Defect
from headwater.contract.manifest import Dataset, Manifest

WINDOW, STEP = 6, 1
EPISODES_A_WEEK = 200.0


class Shipped:
    """The model of these files for a budget of false alarms a machine and week."""

    def __init__(self, files: Sequence[File], episodes_a_week: float, window: int = WINDOW, step: int = STEP) -> None:
        self._channels = files[0].channels
        series = {_key(each): _series(each, slice(TRAINED)) for each in files}
        rows = b"".join(np.ascontiguousarray(each.values[:TRAINED]).tobytes() for each in files)
        learn = TrainingSet("rig", self._channels, series, Dataset({}, sha256(rows), TRAINED * len(files)))
        recipe = Recipe(window=window, step=step, max_gap_s=1e9, alarms_a_week=episodes_a_week)
        made = make(learn, recipe)
        self.manifest: Manifest = make_manifest("bench", 1, made)
        self._judge = Judge(self.manifest, made.model)

    @property
    def margin(self) -> float:
        """That the budget asked for."""
        if self.manifest.episodes is msgspec.UNSET:
            raise Defect("a model for a budget has no episodes")
        return self.manifest.episodes.rule.margin

    def alarm(self, file: File) -> Flags:
        """Of the rows behind the training rows."""
        found = self._judge.of(_key(file), _series(file, slice(None)), self._channels)
        return np.asarray(found.alarm[TRAINED:])

    def judged(self, files: Sequence[File]) -> Counts:
        """Of all files."""
        return pooled(count(self.alarm(each), each.judged) for each in files)


def _key(file: File) -> str:
    return f"rig/{file.name.replace('/', '-')}"


def _series(file: File, rows: slice) -> Series:
    values = file.values[rows]
    return Series((file.t[rows] * 1000).astype(np.int64), values, np.zeros(len(values), np.int64))
