"""A model of remaining life from the lives of assets that ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cloud_trainer.life import network
from cloud_trainer.life.denoising import learn
from cloud_trainer.life.histories import Fleet, Floats, left_of, vectors
from cloud_trainer.life.intervals import Intervals, calibrate
from cloud_trainer.life.network import Network
from headwater.contract.errors import GateFailed
from headwater.contract.memory import MemorySpec

_LEAST = 10  # assets
_LATENTS = (2, 3)


class LifeRecipe(BaseModel):
    """Every number that training does not take from the data. Chosen by cross-validation on training assets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_lifelong: bool = Field(
        True, description="Whether features count from the overhaul; else the last 30 cycles only."
    )
    latents: int = Field(3, ge=1, le=16, description="Latent values of the sensors of a cycle.")
    layers: tuple[int, ...] = Field((48, 24, 16), description="Widths of the network's hidden layers.")
    most: float = Field(125.0, gt=0, description="Cycles beyond which remaining life is not told apart.")
    early: float = Field(170.0, gt=0, description="Cycles before failure beyond which rows count less.")
    heed: float = Field(0.3, ge=0, le=1, description="How much these rows count.")
    epochs: float = Field(80.0, gt=0, description="How often each row is trained on.")
    folds: int = Field(5, ge=2, description="Parts of the assets for cross-validation.")
    missed: float = Field(0.1, gt=0, lt=1, description="Share of true values that intervals may miss.")
    every: int = Field(5, ge=1, description="Cycles between two rows that intervals are calibrated on.")
    young: int = Field(20, ge=0, description="First cycles of a life that they are not calibrated on.")


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
    """Predictions for assets that the model had not seen, one row for each asset and cycle that was asked."""

    asset: Floats
    predicted: Floats
    left: Floats


def train(fleet: Fleet, recipe: LifeRecipe, seed: int) -> LifeModel:
    """Fit to lives that ended with their last cycle; GateFailed where they are too few."""
    if len(fleet.histories) < _LEAST:
        raise GateFailed(f"{len(fleet.histories)} lives that ended, {_LEAST} are needed")
    spec = learn(fleet, latents=recipe.latents, is_lifelong=recipe.is_lifelong)
    spec.check()
    rows = np.concatenate(vectors(spec, fleet))
    left = np.concatenate([left_of(each) for each in fleet.histories])
    heed = np.where(left > recipe.early, recipe.heed, 1.0)
    steps = math.ceil(recipe.epochs * len(rows) / network.BATCH)
    fitted = network.train(rows, left, heed, layers=recipe.layers, most=recipe.most, steps=steps, seed=seed)
    return LifeModel(spec, fitted)


def cross_validate(fleet: Fleet, recipe: LifeRecipe, seed: int) -> Checked:
    """Each asset predicted by a model of the others, at every `recipe.every`th cycle behind its first."""
    asset, predicted, left = [], [], []
    count = len(fleet.histories)
    for fold in range(recipe.folds):
        own = [index for index in range(count) if index % recipe.folds == fold]
        model = train(fleet.some(index for index in range(count) if index % recipe.folds != fold), recipe, seed)
        for index, says in zip(own, model.predict(fleet.some(own)), strict=True):
            asked = slice(min(recipe.young, len(says) - 1), None, recipe.every)
            asset.append(np.full(len(says[asked]), float(index)))
            predicted.append(says[asked])
            left.append(left_of(fleet.histories[index])[asked])
    return Checked(np.concatenate(asset), np.concatenate(predicted), np.concatenate(left))


def candidates(recipe: LifeRecipe) -> list[LifeRecipe]:
    """What is tried before a network is trained: how many latents the sensors of these assets are worth."""
    return [recipe.model_copy(update={"latents": latents}) for latents in _LATENTS]


def best(checked: Sequence[Checked], recipe: LifeRecipe) -> int:
    """Which of the cross-validations was off by least, in the mean of squares; the first of equals."""
    off = [float(np.mean((each.predicted - np.minimum(each.left, recipe.most)) ** 2)) for each in checked]
    return off.index(min(off))


def intervals(checked: Checked, recipe: LifeRecipe) -> Intervals:
    """Intervals from predictions for assets that the model had not seen."""
    return calibrate(checked.predicted, checked.left, most=recipe.most, missed=recipe.missed)
