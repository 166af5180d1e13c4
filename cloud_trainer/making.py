"""From a dataset to the two files of a model, proven to run: no service is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from cloud_trainer import parity, train
from cloud_trainer.calibration.spec import Calibrated, calibrate
from cloud_trainer.certificates.certifying import certify
from cloud_trainer.certificates.replay import Replay, replay
from cloud_trainer.datasets.spikes import tamed
from cloud_trainer.drift.reference import reference
from cloud_trainer.parity import Parity
from cloud_trainer.recipe import Recipe
from cloud_trainer.series import TrainingSet
from cloud_trainer.train import Trained
from headwater.contract.canonical import sha256
from headwater.contract.errors import Defect
from headwater.contract.manifest import Certificate, Manifest
from headwater.transport.code_version import code_version


class Made(NamedTuple):
    """A model that passed its gate."""

    learn: TrainingSet
    recipe: Recipe
    trained: Trained
    model: bytes  # the .tflite
    parity: Parity
    certificates: tuple[Certificate, ...] = ()
    episodes: Calibrated | None = None
    wild: dict[str, int] = {}  # noqa: RUF012  values that were taken for missing, by channel; never written to


def make(learn: TrainingSet, recipe: Recipe) -> Made:
    """Train, export, and compare in the runtime of the edge; GateFailed for too little data, or a difference.

    What no machine reads (datasets/spikes.py) is missing to all of it.
    """
    learn, wild = tamed(learn, recipe.accept)
    trained = train.train(learn, recipe)
    model = trained.detector.export()
    if model is None:
        raise Defect(f"a yardstick was chosen to ship: {trained.algorithm}")
    checked = parity.check(trained, model, recipe.rule)
    if recipe.alarms_a_week is None:
        return Made(learn, recipe, trained, model, checked, wild=wild)
    episodes = calibrate(learn, trained.spec, trained.windows, recipe.margin, recipe.alarms_a_week)
    return Made(learn, recipe, trained, model, checked, episodes=episodes, wild=wild)


def replay_of(made: Made) -> Replay:
    """What the runtimes of the fleet are held against."""
    golden = np.array(parity.golden_vectors(made.trained).inputs, np.float32)
    return replay(made.trained, golden, made.recipe.seed, made.episodes and made.episodes.spec)


def certified(made: Made, interpreters: Sequence[Path]) -> Made:
    """The same model with a certificate of each runtime, of the installed one where none is named.

    Raises as `certify` does: without all of them nothing is published.
    """
    spec = made.episodes and made.episodes.spec
    return made._replace(certificates=certify(made.model, replay_of(made), made.recipe.rule, interpreters, spec))


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
        algorithm=trained.algorithm,
        parity={checked.runtime: checked.worst, **{each.runtime: each.worst for each in made.certificates}},
        certificates=made.certificates,
        metrics={
            **trained.metrics,
            "windows_compared": checked.windows,
            "alarms_in_training": checked.alarms,
            "reference": reference(trained.spec, made.learn),
            **({"values_taken_for_missing": made.wild} if made.wild else {}),
            **({} if made.episodes is None else {"margin": made.episodes.margin._asdict()}),
        },
        code=code_version(),
        episodes=msgspec.UNSET if made.episodes is None else made.episodes.spec,
    )
    manifest.check()
    return manifest
