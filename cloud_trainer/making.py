"""From a dataset to the two files of a model, proven to run: no service is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from cloud_trainer import parity, train
from cloud_trainer.export import export
from cloud_trainer.parity import Parity
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from cloud_trainer.train import Trained
from headwater.contract.canonical import sha256
from headwater.contract.manifest import Manifest


class Made(NamedTuple):
    """A model that passed its gate."""

    learn: TrainingSet
    recipe: Recipe
    trained: Trained
    model: bytes  # the .tflite
    parity: Parity


def make(learn: TrainingSet, recipe: Recipe) -> Made:
    """Train, export, and compare in the runtime of the edge; GateFailed for too little data, or a difference."""
    trained = train.train(learn, recipe)
    model = export(trained.linear.weights, trained.linear.bias)
    return Made(learn, recipe, trained, model, parity.check(trained, model, recipe.rule))


def make_manifest(request_id: str, version: int, made: Made) -> Manifest:
    """Everything that an edge must know of a model, and what it was made from."""
    trained, checked = made.trained, made.parity
    manifest = Manifest(
        asset_class=made.learn.asset_class,
        version=version,
        sha256=sha256(made.model),
        size_bytes=len(made.model),
        features=trained.spec,
        features_digest=trained.spec.digest(),
        thresholds=trained.thresholds,
        alarm=made.recipe.rule,
        golden=parity.golden_vectors(trained),
        dataset=made.learn.source,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        request_id=request_id,
        algorithm=train.ALGORITHM,
        parity={checked.runtime: checked.worst},
        metrics={**trained.metrics, "windows_compared": checked.windows, "alarms_in_training": checked.alarms},
    )
    manifest.check()
    return manifest
