"""The card of a model of remaining life: what it said of lives that it had not seen, and what it cannot see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cloud_trainer.cards import life as lives
from cloud_trainer.cards import plots
from cloud_trainer.cards.facts import judged_beside, learned_from
from cloud_trainer.cards.life import Predictions
from cloud_trainer.cards.plots import Picture
from cloud_trainer.cards.writing import write
from cloud_trainer.judging import lives_asked
from cloud_trainer.judging.asked import Range
from cloud_trainer.judging.lives import parts_of, said
from cloud_trainer.judging.seen import shared
from cloud_trainer.life.histories import left_of
from cloud_trainer.life.lives import Lives
from cloud_trainer.settings import TrainerSettings
from cloud_trainer.tracing import models
from cloud_trainer.tracing.finding import history
from cloud_trainer.tracing.models import Model
from cloud_trainer.tracing.words import explained
from headwater.contract.errors import BadInput
from headwater.contract.messages import RetrainRequest, TrainingRun
from headwater.transport.code_version import code_version

PREDICTIONS_FILE = "predictions.csv"


def draw_beside(folder: Path) -> list[str]:
    """Write the card of the model in a folder there, from the predictions that lie beside it."""
    model = models.from_folder(folder)
    told, drawn = _card(model, lives.read(folder / PREDICTIONS_FILE), None, (None, None), is_left_out=True)
    return write(told, drawn, folder)


def make(
    settings: TrainerSettings, model: Model, where: Range, predictions: Path | None
) -> tuple[dict[str, Any], list[Picture]]:
    """The card and its pictures: on the lives of a range, or on predictions, by default those beside the model."""
    past = (None, None) if model.folder else history(settings, model.manifest.request_id)
    beside = model.folder / PREDICTIONS_FILE if model.folder else None
    named = predictions or (beside if beside and beside.exists() and where.folder is None else None)
    if named is not None:
        return _card(model, lives.read(named), None, past, is_left_out=predictions is None)
    given = lives_asked.readings(settings, where, model)
    if not given.names:
        raise BadInput("no life in this range ended with a failure", hint="name other lives, or --predictions FILE")
    return _card(model, _said(model, given), given, past, is_left_out=False)


def _said(model: Model, given: Lives) -> Predictions:
    most = parts_of(model)[1].most
    told = said(model, given)
    remaining, low, high = (np.concatenate([each[number] for each in told]) for number in range(3))
    left = np.concatenate([np.minimum(left_of(each), most) for each in given.fleet.histories])
    return Predictions(remaining, low, high, left, len(given.names))


def _card(
    model: Model,
    seen: Predictions,
    given: Lives | None,
    past: tuple[RetrainRequest | None, TrainingRun | None],
    *,
    is_left_out: bool,
) -> tuple[dict[str, Any], list[Picture]]:
    """`given` is None where predictions were read; `is_left_out`: each by a model that did not know its life."""
    drawn = [plots.remaining(seen)] + ([plots.off_by_truth(seen)] if seen.left is not None else [])
    source = model.manifest.dataset if given is None else given.source
    metrics = model.manifest.metrics
    told = {
        "kind": "model-card",
        "v": 1,
        "model": judged_beside(model, explained(model, *past)),
        "trained_on": _trained_on(model),
        "seen_on": {
            "dataset": msgspec.to_builtins(source),
            "labels_sha256": "",
            "assets": metrics.get("lives", 0) if seen.lives is None else seen.lives,
            "readings": len(seen.predicted),
            "readings_counted": len(seen.predicted),
            "is_training_data": given is not None and source.sha256 == model.manifest.dataset.sha256,
            "is_left_out": is_left_out,
            "trained_on": None if given is None else shared(model, source),
        },
        "figures": {},
        "alarms": None,
        "remaining_life": seen.figures,
        "left_out": {name: metrics[name] for name in seen.figures if name in metrics},
        "drift": None,
        "cannot_see": _cannot_see(model),
        "made_by": code_version(),
    }
    told["pictures"] = [{"file": f"{one.name}.png", "title": one.title, "text": one.text} for one in drawn]
    return told, drawn


def _trained_on(model: Model) -> list[str]:
    metrics = model.manifest.metrics
    found = learned_from(model.manifest)
    found.append(
        f"{metrics.get('lives', 0)} lives of {metrics.get('assets', 0)} assets that ended with a failure; "
        f"{metrics.get('regimes', 0)} ways of running"
    )
    for why, of in (metrics.get("lives_left_out") or {}).items():
        found.append(f"lives left out, {why}: {of['count']:,}, such as {', '.join(of['names'][:5])}")
    return found


def _cannot_see(model: Model) -> list[str]:
    memory, life = parts_of(model)
    rule, metrics = model.manifest.alarm, model.manifest.metrics
    alarm = f"an alarm takes {rule.open_after} in a row below {life.warn:g}"
    found = [
        f"How much more than {life.most:g} cycles is left: it says {life.most:g}.",
        f"Failures that do not show in {', '.join(memory.sensors)} before they happen.",
        "Kinds of failure that none of these lives ended with.",
        f"What happens within {rule.open_after - 1} cycles: {alarm}.",
        "Cycles that lack a setting: they are passed over and do not count."
        if memory.settings
        else "How the machine is run: it was told of no settings.",
    ]
    if memory.is_lifelong:
        found.append("Overhauls that nobody records: the age that it counts goes on (headwater edge overhauled ASSET).")
    if metrics.get("channels_left_out"):
        found.append(f"Channels that stood still or were rare: {', '.join(metrics['channels_left_out'])}.")
    return found
