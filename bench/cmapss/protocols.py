"""What is trained on which engines, and what is asked of it: the last row of each test engine, labels cut to 125.

`whole life`: features since the first cycle. `30 cycles`: the window of most published tables, padded where an engine
has fewer. `pair`: trained on both sets that run alike (FD001 and FD003 in one regime, FD002 and FD004 in six); `own`:
on the set itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cloud_trainer.life import training
from cloud_trainer.life.histories import Fleet, Floats, History
from cloud_trainer.life.intervals import Numbers
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.life.training import Checked, LifeModel
from headwater.transport import cmapss

MOST = 125.0
PAIRS = (("FD001", "FD003"), ("FD002", "FD004"))
_WHOLE = LifeRecipe(most=MOST)
_WINDOW = LifeRecipe(most=MOST, is_lifelong=False)


@dataclass(frozen=True)
class Protocol:
    """One row of the table; `key` is the part of its figures' names behind `rmse`."""

    name: str
    key: str
    is_paired: bool
    recipe: LifeRecipe


HEADLINE = Protocol("network, whole life, pair", "", is_paired=True, recipe=_WHOLE)
PROTOCOLS = (
    HEADLINE,
    Protocol("network, whole life, own", "_own", is_paired=False, recipe=_WHOLE),
    Protocol("network, 30 cycles, pair", "_window", is_paired=True, recipe=_WINDOW),
)


@dataclass(frozen=True)
class Task:
    """One training: `trained_on` these sets, asked about the test engines of some of them."""

    protocol: Protocol
    recipe: LifeRecipe  # the protocol's, with what cross-validation chose
    trained_on: tuple[str, ...]
    asked: tuple[str, ...]
    seed: int
    is_checked: bool = False  # by cross-validation, instead of on the test engines


@dataclass(frozen=True)
class Answer:
    """Remaining cycles of the asked engines by set; of cross-validation many rows an engine, with what was left."""

    task: Task
    predicted: dict[str, Floats]
    left: dict[str, Floats]
    began: float  # by the clock that all processes of this machine share, in seconds
    ended: float
    lives: dict[str, Numbers] = field(default_factory=dict)  # of cross-validation: whose rows these are
    checked: Checked | None = None
    model: LifeModel | None = None


def partners(subset: str, there: Sequence[str]) -> tuple[str, ...]:
    """The sets that run as this one does, those of them that are there, in the order of their names."""
    pair = next((pair for pair in PAIRS if subset in pair), (subset,))
    return tuple(name for name in pair if name in there)


def fleet(folder: Path, part: str, names: Sequence[str]) -> Fleet:
    """The engines of some sets, one behind the other."""
    units = [unit for name in names for unit in cmapss.units(folder, part, name)]
    return Fleet(cmapss.SETTINGS, cmapss.SENSORS, [History(unit.settings, unit.sensors) for unit in units])


def answer(folder: Path, task: Task) -> Answer:
    """Train and ask."""
    began = time.monotonic()
    lives = fleet(folder, "train", task.trained_on)
    if task.is_checked:
        checked = training.cross_validate(lives, task.recipe, task.seed)
        begins = np.cumsum([0, *(len(fleet(folder, "train", [name]).histories) for name in task.trained_on)])
        of = np.searchsorted(begins, checked.life, side="right") - 1
        found = {name: of == number for number, name in enumerate(task.trained_on)}
        predicted = {name: checked.predicted[inside] for name, inside in found.items()}
        left = {name: np.minimum(checked.left[inside], MOST) for name, inside in found.items()}
        lives_of = {name: checked.life[inside] for name, inside in found.items()}
        return Answer(task, predicted, left, began, time.monotonic(), lives_of, checked)
    model = training.train(lives, task.recipe, task.seed)
    predicted = {
        name: np.array([says[-1] for says in model.predict(fleet(folder, "test", [name]))]) for name in task.asked
    }
    return Answer(task, predicted, {}, began, time.monotonic(), model=model)
