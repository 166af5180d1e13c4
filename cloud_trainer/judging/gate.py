"""The judge at work in the service: no new version that is worse than the one before it beyond chance."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import structlog

from cloud_trainer.judging.champion import Champion, champion_of
from cloud_trainer.judging.compare import compare
from cloud_trainer.judging.decision import Decision
from cloud_trainer.judging.material import Material, with_truth
from cloud_trainer.series import Series, TrainingSet
from cloud_trainer.tracing.models import Model, Published
from headwater.contract.errors import BadInput, GateFailed, Untrusted
from headwater.contract.manifest import Manifest

_MOST_READINGS = 400_000
_log = structlog.get_logger(__name__)


def judged(models: Published, learn: TrainingSet, manifest: Manifest, data: bytes) -> Decision | None:
    """What the judge says of a model against the champion, on the healthy readings that it was trained on.

    Faults are not among these, so that it can keep a challenger out for its false alarms and never prefer one; and the
    challenger knows these readings, so that what it does worse on them it does worse indeed. None: there is no version
    yet, none reads back, or the two cannot be compared (other channels, too few readings).
    """
    champion = champion_for(models, manifest.asset_class)
    if champion is None:
        return None
    challenger = Model(manifest, data, manifest.encode(), "trained just now")
    try:
        return champion.noted(compare(champion.model, challenger, _newest(learn), in_parts=False).decision)
    except (BadInput, GateFailed) as error:
        _log.warning("not judged", champion=champion.model.name, why=str(error))
        return None


def champion_for(models: Published, asset_class: str) -> Champion | None:
    """The champion of a class; None where there is none yet, or, with a warning, where no version reads back.

    Damage in the store does not keep a class from its next model, which no edge runs before somebody sends it out.
    """
    try:
        return champion_of(models, asset_class)
    except Untrusted as error:
        _log.warning("not judged", of=asset_class, why=str(error))
        return None


def _newest(learn: TrainingSet) -> Material:
    """The last readings of each asset, so many that judging takes seconds and not the time of a training.

    As many before these say where a machine was followed to.
    """
    most = max(1, _MOST_READINGS // max(1, len(learn.series)))
    tails: dict[str, Series] = {}
    before: dict[str, Series] = {}
    for key, one in learn.series.items():
        begin = max(0, len(one) - most)
        for found, rows in ((tails, slice(begin, None)), (before, slice(max(0, begin - most), begin))):
            found[key] = Series(one.t[rows], one.values[rows], one.stretch[rows])
    return replace(with_truth(replace(learn, series=tails), {}), before=before)


def consented(decision: Decision, manifest: Manifest) -> Manifest:
    """The manifest with the decision's digest in it; GateFailed where the judge keeps the champion."""
    if decision.verdict == "keep":
        raise GateFailed(
            f"the judge keeps version {decision.champion.version}: {'; '.join(decision.reasons)}",
            hint="look at the range: headwater train jobs --json has the decision",
        )
    said = {"sha256": decision.digest(), "verdict": decision.verdict, "champion": decision.champion.version}
    return msgspec.structs.replace(manifest, metrics={**manifest.metrics, "judge": said})


def against(manifest: Manifest) -> str:
    """Which version a model was judged against, in words; empty where it was not judged."""
    said = manifest.metrics.get("judge")
    return f"judged against version {said['champion']}" if isinstance(said, dict) and "champion" in said else ""
