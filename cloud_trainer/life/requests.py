"""From a request to a model of remaining life, as cloud_trainer/job.py carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from cloud_trainer.datasets.collecting import Collected
from cloud_trainer.judging import lives as judging
from cloud_trainer.judging.decision import Decision
from cloud_trainer.judging.gate import champion_for
from cloud_trainer.life import making
from cloud_trainer.life.checking import fit_to_learn
from cloud_trainer.life.contest import Tell
from cloud_trainer.life.lives import lives
from cloud_trainer.life.making import LifeMade
from cloud_trainer.life.recipe import LifeRecipe
from cloud_trainer.recipe import Recipe
from cloud_trainer.tracing.models import Model, Published
from headwater.contract.errors import BadInput
from headwater.contract.manifest import Manifest

_log = structlog.get_logger(__name__)


def make_from(
    found: Collected, recipe: Recipe, life: LifeRecipe, runtimes: Sequence[Path], tell: Tell = lambda _: None
) -> LifeMade:
    """A certified model of the lives in these readings, once they passed their checks.

    GateFailed: too few lives, a check, a runtime that computes something else. BadInput: a setting that is no channel.
    """
    given = lives(found, life.settings, is_lifelong=life.is_lifelong, present=recipe.present, accept=recipe.accept)
    fit_to_learn(found, given, recipe)
    _log.info("lives read", lives=len(given.names), cycles=given.cycles, left_out=given.left_out)
    made = making.make(given, life, tell)
    _log.info("trained", who=made.outcome.trial.family, **making.figures(made))
    return making.certified(made, runtimes)


def judged(models: Published, made: LifeMade, manifest: Manifest) -> Decision | None:
    """What the judge says of a model against the champion, on the lives that it was trained on.

    The challenger knows them, so that what it does worse on them it does worse indeed; it is never preferred here.
    None: there is no version yet, or the one that is there cannot say anything of these lives.
    """
    champion = champion_for(models, manifest.asset_class)
    if champion is None:
        return None
    if champion.model.manifest.life is msgspec.UNSET:
        _log.warning("not judged: the champion finds anomalies", champion=champion.model.name)
        return None
    challenger = Model(manifest, made.data, manifest.encode(), "trained just now")
    try:
        return champion.noted(judging.compare(champion.model, challenger, made.lives))
    except BadInput as error:  # it needs a channel that is no longer there
        _log.warning("not judged", champion=champion.model.name, why=str(error))
        return None
