"""A model of remaining life from the lives of assets that ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from cloud_trainer.life import network
from cloud_trainer.life.denoising import learn
from cloud_trainer.life.histories import Fleet, Floats, Vectors, left_of, vectors
from cloud_trainer.life.network import Network
from cloud_trainer.life.recipe import LifeRecipe
from headwater.contract.memory import MemorySpec

_YOUNG = 5  # the part of a short life that is young
_ASKED = 20  # cycles that a short life is asked about, where it has them


@dataclass(frozen=True)
class LifeModel:
    """Features and network; `predict` is what the edge would say."""

    spec: MemorySpec
    network: Network

    def predict(self, fleet: Fleet) -> list[Floats]:
        """Remaining cycles [cycles] after each cycle of each history."""
        return [self.network.predict(rows) for rows in vectors(self.spec, fleet)]


@dataclass(frozen=True)
class Checked:
    """Predictions for assets that the model had not seen, one row for each life (by number) and cycle asked."""

    life: npt.NDArray[np.int64]
    predicted: Floats
    left: Floats


class Featured(NamedTuple):
    """Lives as a network sees them: specification, vectors [n, F], and cycles left [n]."""

    spec: MemorySpec
    rows: Vectors
    left: Floats


def features(fleet: Fleet, recipe: LifeRecipe) -> Featured:
    """Learn the features of lives that ended with their last cycle, and compute them; GateFailed as `learn`.

    With as many latents as the recipe names first.
    """
    with threadpool_limits(1, user_api="blas"):  # the sums of a product depend on how many threads share it
        spec = learn(fleet, latents=recipe.latents[0], is_lifelong=recipe.is_lifelong)
    spec.check()
    left = np.concatenate([left_of(each) for each in fleet.histories])
    return Featured(spec, np.concatenate(vectors(spec, fleet)), left)


def fit(given: Featured, recipe: LifeRecipe, seed: int) -> Network:
    """The network of these rows."""
    heed = np.where(given.left > recipe.early * recipe.most, recipe.heed, 1.0)
    steps = math.ceil(recipe.epochs * len(given.rows) / network.BATCH)
    return network.train(given.rows, given.left, heed, layers=recipe.layers, most=recipe.most, steps=steps, seed=seed)


def train(fleet: Fleet, recipe: LifeRecipe, seed: int) -> LifeModel:
    """Fit to lives that ended with their last cycle; GateFailed where too few sensors move."""
    given = features(fleet, recipe)
    return LifeModel(given.spec, fit(given, recipe, seed))


def folds(fleet: Fleet, count: int) -> list[tuple[list[int], list[int]]]:
    """Cross-validation by whole assets: of each part the numbers of the lives to train on, and of those left out."""
    owners = fleet.owner_of
    rank = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    found = []
    for fold in range(min(count, len(rank))):
        out = [index for index, owner in enumerate(owners) if rank[owner] % count == fold]
        found.append(([index for index in range(len(owners)) if index not in set(out)], out))
    return found


def asked(cycles: int, recipe: LifeRecipe) -> slice:
    """The cycles of a life that cross-validation asks about: every so many behind its first.

    A short life is asked more often, and nothing but its first fifth is passed over: else it would be its end alone.
    """
    return slice(min(recipe.young, cycles // _YOUNG), None, max(1, min(recipe.every, cycles // _ASKED)))


def checked(fleet: Fleet, says: Mapping[int, Floats], recipe: LifeRecipe) -> Checked:
    """What was said of lives left out, by their numbers, beside what was left."""
    life, predicted, left = [], [], []
    for index, values in says.items():
        rows = asked(len(values), recipe)
        life.append(np.full(len(values[rows]), index))
        predicted.append(values[rows])
        left.append(left_of(fleet.histories[index])[rows])
    return Checked(np.concatenate(life), np.concatenate(predicted), np.concatenate(left))


def cross_validate(fleet: Fleet, recipe: LifeRecipe, seed: int) -> Checked:
    """Each asset predicted by a model of the others."""
    says: dict[int, Floats] = {}
    for inside, out in folds(fleet, recipe.folds):
        model = train(fleet.some(inside), recipe, seed)
        says.update(zip(out, model.predict(fleet.some(out)), strict=True))
    return checked(fleet, says, recipe)


def candidates(recipe: LifeRecipe) -> list[LifeRecipe]:
    """What is tried before a network is trained: how many latents the sensors of these assets are worth."""
    return [with_latents(recipe, latents) for latents in recipe.latents]


def with_latents(recipe: LifeRecipe, latents: int) -> LifeRecipe:
    """The same with this number of latents alone."""
    return recipe.model_copy(update={"latents": (latents,)})


def squares(one: Checked, most: float) -> Floats:
    """Squared errors by row, in cycles squared; what was left is cut to `most`."""
    return np.asarray((one.predicted - np.minimum(one.left, most)) ** 2)


def best(found: Sequence[Checked], recipe: LifeRecipe) -> int:
    """Which of the cross-validations was off by least, in the mean of squares; the first of equals."""
    off = [float(np.mean(squares(each, recipe.most))) for each in found]
    return off.index(min(off))
