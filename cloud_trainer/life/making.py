"""From lives to the files of a model of remaining life, proven to run: no service is asked."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cloud_trainer.certificates.certifying import TOLERANCE, certify
from cloud_trainer.certificates.replay import LEAST, MOST, Part, Replay
from cloud_trainer.life import contest, training
from cloud_trainer.life.contest import Outcome, Tell
from cloud_trainer.life.export import export
from cloud_trainer.life.histories import Floats, Vectors, vectors
from cloud_trainer.life.intervals import Numbers, calibrate
from cloud_trainer.life.lives import Lives
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.life.training import Checked, LifeModel
from headwater.contract.canonical import sha256
from headwater.contract.errors import GateFailed
from headwater.contract.features import CLASS_WIDE, FeatureSpec
from headwater.contract.life import LifeSpec
from headwater.contract.manifest import Certificate, Golden, Manifest
from headwater.transport.code_version import code_version

_GOLDEN = 24
_NEAR = 0.1  # of `most`: a score this near zero is off by much of itself, and is no golden one
_TOLERANCE = TOLERANCE / _NEAR  # of the scores; the certificates' is of `most`
_DISTURBED = 0.3  # standard deviations of each feature, where lives are too few to be replayed alone
_ON = 2e-6  # of `most`: what runtimes are off by, five times
_MOST_NAMED = 50
_TURNS = 50  # of disturbing all lives, for each part that is replayed


class Missed(NamedTuple):
    """Intervals of lives that they were not calibrated on, row by row as `Checked` has them."""

    low: Floats
    high: Floats


class LifeMade(NamedTuple):
    """A model of remaining life with everything that an edge must know of it."""

    lives: Lives
    recipe: LifeRecipe
    model: LifeModel
    data: bytes  # of the .tflite
    features: FeatureSpec
    life: LifeSpec
    outcome: Outcome
    crossed: Missed
    certificates: tuple[Certificate, ...] = ()


def make(given: Lives, recipe: LifeRecipe, tell: Tell = lambda _: None) -> LifeMade:
    """Hold the contest, train who ships on all lives, export; GateFailed as `contest.run`."""
    outcome = contest.run(given.fleet, recipe, tell)
    model = contest.fitted(given.fleet, outcome.trial, recipe)
    channels = model.spec.settings + model.spec.sensors
    features = FeatureSpec(channels, 1, 1, {}, memory=model.spec)
    features.check()
    checked = outcome.checked
    return LifeMade(
        given,
        recipe,
        model,
        export(model.network, len(channels)),
        features,
        calibrate(checked.predicted, checked.left, recipe, _owners(given, checked)),
        outcome,
        _crossed(given, checked, recipe),
    )


def _crossed(given: Lives, checked: Checked, recipe: LifeRecipe) -> Missed:
    """Intervals of each fold's lives, calibrated on the other folds."""
    low, high = np.zeros(len(checked.life)), np.zeros(len(checked.life))
    owners = _owners(given, checked)
    for _, out in training.folds(given.fleet, recipe.folds):
        mine = np.isin(checked.life, out)
        spec = calibrate(checked.predicted[~mine], checked.left[~mine], recipe, owners[~mine])
        low[mine], high[mine] = spec.of(checked.predicted[mine])
    return Missed(low, high)


def _owners(given: Lives, checked: Checked) -> Numbers:
    return np.array(given.fleet.owner_of, dtype=np.int64)[checked.life]


def certified(made: LifeMade, interpreters: Sequence[Path]) -> LifeMade:
    """The same model with a certificate of each runtime, of the installed one where none is named; as `certify`."""
    return made._replace(certificates=certify(made.data, replay_of(made), made.recipe.rule, interpreters))


def replay_of(made: LifeMade) -> Replay:
    """What the runtimes of the fleet are held against: lives, and the same disturbed where these are too few.

    Scores are told apart as shares of `most`: one near zero says nothing of how well a runtime computes.
    """
    threshold = made.life.threshold
    parts = [Part("golden", np.array(golden_of(made).inputs, np.float32), threshold)]
    every = vectors(made.model.spec, made.lives.fleet)
    step = max(1, -(-sum(map(len, every)) // MOST))
    chosen = list(zip(made.lives.names, every, strict=True))[::step]
    parts += [Part(name, rows, threshold) for name, rows in chosen if _is_clear(made, rows)]
    wide = np.concatenate([rows for _, rows in chosen]).std(axis=0)
    rng, turn = np.random.default_rng(made.recipe.seed), 0
    while sum(len(part.rows) for part in parts) < LEAST:
        if turn == _TURNS * len(parts):
            raise GateFailed(
                f"{turn} times disturbed, too few lives have no score on the level of the alarm: nothing to compare",
                hint="is `most` far above the lives' lengths, or `warn` what a model without news says of each cycle?",
            )
        turn += 1
        for name, rows in chosen:
            disturbed = (rows + _DISTURBED * wide * rng.normal(size=rows.shape)).astype(np.float32)
            if _is_clear(made, disturbed):
                parts.append(Part(f"{name}, disturbed {turn}", disturbed, threshold))
    scores = _scores(made, np.concatenate([part.rows for part in parts]))
    return Replay(tuple(parts), scores, np.zeros((len(scores), len(made.features.channels))), made.life.most)


def _scores(made: LifeMade, rows: Vectors) -> Floats:
    return np.asarray(made.life.most - made.model.network.predict(rows))


def _is_clear(made: LifeMade, rows: Vectors) -> bool:
    """Whether no score lies on a level of the alarm itself, where float32 may take it for either side."""
    levels = np.array([made.life.threshold, made.life.threshold * made.recipe.recovery])
    return bool((np.abs(_scores(made, rows)[:, None] - levels) > _ON * made.life.most).all())


def golden_of(made: LifeMade) -> Golden:
    """Vectors over the range of scores; none whose score is so near zero that float32 leaves little of it."""
    rows = np.concatenate(vectors(made.model.spec, made.lives.fleet))
    shares = made.model.network.shares(rows)
    fit = np.flatnonzero(np.abs(1 - shares) > _NEAR)
    if not len(fit):
        raise GateFailed(
            "the model says that all is left of every life at every time",
            hint="is `most` far below the lives' lengths?",
        )
    order = fit[np.argsort(shares[fit], kind="stable")]
    chosen: Vectors = rows[order[np.unique(np.linspace(0, len(order) - 1, _GOLDEN).astype(int))]]
    scores = _scores(made, chosen)
    return Golden(chosen.astype(np.float64).tolist(), scores.tolist(), _TOLERANCE)


def make_manifest(request_id: str, version: int, made: LifeMade) -> Manifest:
    """Everything that an edge must know of a model, and what it was made from."""
    manifest = Manifest(
        asset_class=made.lives.asset_class,
        version=version,
        sha256=sha256(made.data),
        size_bytes=len(made.data),
        features=made.features,
        features_digest=made.features.digest(),
        thresholds={CLASS_WIDE: made.life.threshold},
        alarm=made.recipe.rule,
        golden=golden_of(made),
        dataset=made.lives.source,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        request_id=request_id,
        algorithm=made.outcome.trial.family,
        parity={each.runtime: each.worst for each in made.certificates},
        certificates=made.certificates,
        metrics=_metrics(made),
        code=code_version(),
        life=made.life,
    )
    manifest.check()
    return manifest


def _metrics(made: LifeMade) -> dict[str, Any]:
    given, spec = made.lives, made.model.spec
    still = sorted(set(given.fleet.sensors) - set(spec.sensors))
    return {
        **made.outcome.report,
        **figures(made),
        "lives": len(given.names),
        "assets": len(set(given.fleet.owner_of)),
        "cycles": given.cycles,
        "lives_left_out": {
            why: {"count": len(names), "names": names[:_MOST_NAMED]} for why, names in sorted(given.left_out.items())
        },
        "channels_left_out": sorted([*given.sensors_left_out, *still]),
        **({"values_taken_for_missing": dict(given.wild)} if given.wild else {}),
        "latents": spec.latents,
        "regimes": len(spec.regimes),
        "recipe": made.recipe.model_dump(mode="json"),
    }


def figures(made: LifeMade) -> dict[str, float]:
    """On lives left out, in cycles: RMSE; of intervals calibrated on the others the share that they hold, and width."""
    checked, (low, high) = made.outcome.checked, made.crossed
    truth = np.minimum(checked.left, made.recipe.most)
    held = (low <= truth) & (truth <= high)
    return {
        "rmse": round(float(np.sqrt(np.mean(training.squares(checked, made.recipe.most)))), 4),
        "coverage": round(float(held.mean()), 4),
        "width": round(float((high - low).mean()), 4),
    }


def predictions(made: LifeMade) -> bytes:
    """CSV of what was said of lives by models that had not seen them: unit, cycle, rul, low, high, true."""
    checked, held = made.outcome.checked, io.StringIO()
    lines = csv.writer(held, lineterminator="\n")
    lines.writerow(("unit", "cycle", "rul", "low", "high", "true"))
    truth = np.minimum(checked.left, made.recipe.most)
    for life, *values, left, true in zip(
        checked.life.tolist(), checked.predicted, *made.crossed, checked.left, truth, strict=True
    ):
        cycle = len(made.lives.fleet.histories[life].sensors) - int(left)
        lines.writerow((made.lives.names[life], cycle, *(f"{value:.3f}" for value in values), f"{true:g}"))
    return held.getvalue().encode()
